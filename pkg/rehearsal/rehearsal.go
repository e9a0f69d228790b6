package rehearsal

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/placement"
)

// Layout is where a leader may sit and where its workers then go: a placement.Fit, or what a rehearsal has found.
type Layout interface {
	// LeaderFits tells whether the workers have room when the leader sits on the node of this number.
	LeaderFits(node int) bool
	// Score says how good a node that is for the leader, from 0 to placement.MaxScore.
	Score(node int) int
	// Plan chooses the workers' slots for a leader on the node.
	Plan(leader int) ([]placement.Slots, bool)
}

// Found is the layout that a rehearsal has found: one node for the leader.
type Found struct {
	// Leader is its node, numbered as in the View; placement.NoNode for a gang without leader.
	Leader int
	// Slots of the workers, sorted by role and node.
	Slots []placement.Slots
}

// LeaderFits is true of one node.
func (f *Found) LeaderFits(node int) bool { return node == f.Leader && node != placement.NoNode }

// Score knows no better node.
func (f *Found) Score(int) int { return placement.MaxScore }

// Plan is what was rehearsed.
func (f *Found) Plan(leader int) ([]placement.Slots, bool) { return f.Slots, leader == f.Leader }

// Question is what a rehearsal has to answer: where a gang goes that fits as far as room is concerned.
type Question struct {
	View *inventory.View
	// Fit is the answer of placement's fast path: a node of the leader that does not pass it is none.
	Fit Layout
	// Asked is the gang as placement was asked for it.
	Asked placement.Gang
	// Leader is nil for a gang without one.
	Leader *v1.Pod
	// Roles are those that Asked was made of.
	Roles []gang.Role
	// Awaited are the workers that open slots of all gangs wait for: they are as good as there.
	Awaited []ledger.Awaited
	// Work is what the attempt has spent and may spend; nil means that it is a new one. Fit adds what its plans cost, and Run what it asks the
	// filters.
	Work *placement.Work
	// Progress is how far rehearsals of the same gang have come before; Run goes on there, and leaves in it where the next one goes on. nil
	// means that there will be no other.
	Progress *Progress
}

// runningKey marks the cycle of a pod that is rehearsed.
const runningKey fwk.StateKey = "Retinue/rehearsal"

type marker struct{}

// Clone is the marker.
func (m marker) Clone() fwk.StateData { return m }

// Mark makes the state that of a cycle in which a pod is rehearsed.
func Mark(state fwk.CycleState) { state.Write(runningKey, marker{}) }

// Running tells whether the cycle is that of a pod that is rehearsed. Whoever counts room for the rehearsal stays out of it.
func Running(state fwk.CycleState) bool {
	_, err := state.Read(runningKey)
	return err == nil
}

// ErrSnapshot means that the scheduler's snapshot cannot be opened for a rehearsal.
var ErrSnapshot = errors.New("the scheduler's snapshot cannot be changed for a rehearsal")

// Run looks for a layout of a gang that passed the fast path. Exactly one of layout, verdict and error is set. It has to be called
// from a scheduling cycle, as nobody else may look at the snapshot meanwhile; blank is where the cycle of each rehearsed pod
// starts.
func Run(ctx context.Context, filters Filters, cluster fwk.MutableSnapshotSharedLister, blank fwk.CycleState, question Question) (found *Found, verdict gang.Verdict, err error) {
	if cluster == nil {
		return nil, gang.Verdict{}, ErrSnapshot
	}
	if err := cluster.StartMutations(); err != nil {
		return nil, gang.Verdict{}, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	defer func() {
		if closing := cluster.EndMutations(); closing != nil {
			found, verdict, err = nil, gang.Verdict{}, fmt.Errorf("%w: %w", ErrSnapshot, closing)
		}
	}()
	blank = blank.Clone()
	Mark(blank)
	opened, err := open(ctx, filters, cluster, blank, question)
	if err != nil {
		return nil, gang.Verdict{}, err
	}
	question.Work.Spend(opened.nodes)
	if question.Progress == nil {
		question.Progress = &Progress{}
	}
	question.Progress.fresh()
	s := newSearch(opened, question)
	if least, left := s.least(), question.Work.Left(); least > left {
		*question.Progress = Progress{}
		return nil, gang.Verdict{Reason: gang.Constraints, Message: fmt.Sprintf("to place all its pods, the filters would be asked about %d nodes at once, more than %d: "+
			"use fewer roles with rules about other pods, or fewer workers", least, left)}, nil
	}
	plan, cost, why := s.run()
	question.Work.SpendNodes(cost)
	klog.FromContext(ctx).V(4).Info("Gang rehearsed", "placed", plan != nil, "cost", cost, "cut", why == cut, "bounded", why == bounded)
	spent := question.Progress.spent
	verdict = s.verdict()
	switch why {
	case cut:
		return nil, s.goesOn(), opened.err
	case bounded:
		verdict.Message += fmt.Sprintf("; the search ended at its bound after %d filtered nodes, so there may be a way", spent)
	}
	*question.Progress = Progress{}
	switch {
	case opened.err != nil:
		return nil, gang.Verdict{}, opened.err
	case plan != nil:
		return plan, gang.Verdict{}, nil
	}
	return nil, verdict, nil
}
