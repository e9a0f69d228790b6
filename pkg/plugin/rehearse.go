package plugin

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/utils/lru"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/rehearsal"
)

// mostCut bounds how many gangs go on where their rehearsals were cut; those that were cut the longest ago start over. Each takes up to 4 MiB.
const mostCut = 12

// unfinished are the rehearsals that were cut: leader -> *unfinishedOne.
type unfinished struct{ of *lru.Cache }

type unfinishedOne struct {
	// edition of what the gang asks for: for another, the rehearsal begins anew.
	edition  uint64
	progress rehearsal.Progress
}

func newUnfinished() unfinished { return unfinished{lru.New(mostCut)} }

// progress of the rehearsals of what a gang asks for.
func (u unfinished) progress(leader types.UID, edition uint64) *rehearsal.Progress {
	if known, is := u.of.Get(leader); is && known.(*unfinishedOne).edition == edition {
		return &known.(*unfinishedOne).progress
	}
	return &rehearsal.Progress{}
}

// keep notes how far the last rehearsal has come.
func (u unfinished) keep(leader types.UID, edition uint64, progress *rehearsal.Progress) {
	if progress.Cut() {
		u.of.Add(leader, &unfinishedOne{edition, *progress})
	} else {
		u.of.Remove(leader)
	}
}

// planRehearsed replaces the layout of the fast path by one that the framework's filters accept, and names the leader's
// node.
func (p *Plugin) planRehearsed(ctx context.Context, state fwk.CycleState, c *cycle, asked placement.Gang, leader *v1.Pod) (*fwk.PreFilterResult, *fwk.Status) {
	began := p.clock.Now()
	c.filtered = true
	progress := p.answers.unfinished.progress(c.demand.Leader, c.edition)
	found, verdict, err := p.rehearse(ctx, state, rehearsal.Question{
		View: c.view, Fit: c.fit, Asked: asked, Leader: leader, Roles: c.demand.Roles, Awaited: p.ledger.Awaited(), Work: &c.work, Progress: progress,
	})
	p.answers.unfinished.keep(c.demand.Leader, c.edition, progress)
	c.fit, c.shortage, c.rehearsed, c.took = nil, verdict, rehearsed{!verdict.Passes(), progress.Cut()}, c.took+p.clock.Since(began)
	if err != nil {
		spend(p, c)
		return nil, fwk.AsStatus(fmt.Errorf("rehearse the gang: %w", err))
	}
	if c.rehearsed.inVain {
		return nil, p.statusOf(verdict)
	}
	c.fit = found
	if leader == nil {
		return nil, nil
	}
	c.named = sets.New(c.view.Name(found.Leader))
	return &fwk.PreFilterResult{NodeNames: c.named}, nil
}

// rehearse runs a rehearsal of a gang in the scheduling cycle of a pod.
func (p *Plugin) rehearse(ctx context.Context, state fwk.CycleState, question rehearsal.Question) (*rehearsal.Found, gang.Verdict, error) {
	blank := state.Clone()
	blank.Delete(cycleKey)
	return rehearsal.Run(ctx, p.framework, p.handle.MutableSnapshotSharedLister(), blank, question)
}
