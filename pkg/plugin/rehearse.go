package plugin

import (
	"context"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/rehearsal"
	"retinue.dev/retinue/pkg/resource"
)

const (
	// mostCut bounds how many gangs go on where their rehearsals were cut, one of a namespace: others begin when those have ended. Each takes up
	// to 5 MiB.
	mostCut = 12
	// longestPause is after how long a rehearsal that does not go on gives up its place.
	longestPause = 5 * time.Minute
)

// unfinished are the rehearsals that were cut, by namespace.
type unfinished struct{ of map[string]*unfinishedOne }

type unfinishedOne struct {
	leader types.UID
	// edition of what the gang asks for: for another, the rehearsal begins anew.
	edition  uint64
	progress rehearsal.Progress
	// epoch of the first attempt, by which those refused that are not asked again, and when the last was cut.
	epoch uint64
	cut   time.Time
}

// progress of the rehearsals of what a gang asks for, and the epoch of the View by which it began: zero if it has not.
func (u *unfinished) progress(c *cycle) (progress *rehearsal.Progress, epoch uint64) {
	if one := u.of[c.namespace]; one != nil && one.leader == c.demand.Leader && one.edition == c.edition {
		return &one.progress, one.epoch
	}
	return &rehearsal.Progress{}, 0
}

// keep notes how far the last rehearsal has come. It is false if the gang has to wait until others have come to an end.
func (u *unfinished) keep(c *cycle, progress *rehearsal.Progress, epoch uint64, now time.Time) bool {
	for namespace, one := range u.of {
		if now.Sub(one.cut) > longestPause || one.leader == c.demand.Leader {
			delete(u.of, namespace)
		}
	}
	if !progress.Cut() {
		return true
	}
	if u.of[c.namespace] != nil || len(u.of) >= mostCut {
		return false
	}
	if u.of == nil {
		u.of = map[string]*unfinishedOne{}
	}
	u.of[c.namespace] = &unfinishedOne{c.demand.Leader, c.edition, *progress, epoch, now}
	return true
}

// planRehearsed replaces the layout of the fast path by one that the framework's filters accept, and names the leader's
// node.
func (p *Plugin) planRehearsed(ctx context.Context, state fwk.CycleState, c *cycle, asked placement.Gang, leader *v1.Pod) (*fwk.PreFilterResult, *fwk.Status) {
	began := p.clock.Now()
	c.filtered = true
	progress, epoch := p.answers.unfinished.progress(c)
	found, verdict, err := p.rehearse(ctx, state, rehearsal.Question{
		View: c.view, Fit: c.fit, Asked: asked, Leader: leader, Roles: c.demand.Roles, Awaited: p.ledger.Awaited(), Work: &c.work, Progress: progress,
	})
	if epoch == 0 {
		epoch = c.view.Epoch
	}
	kept := p.answers.unfinished.keep(c, progress, epoch, began)
	if !kept {
		verdict.Message += ", when the rehearsals of others have ended that take several attempts"
	}
	c.fit, c.shortage, c.rehearsed, c.took = nil, verdict, rehearsed{!verdict.Passes(), kept && progress.Cut(), false, epoch}, c.took+p.clock.Since(began)
	if err != nil {
		spend(p, c)
		return nil, fwk.AsStatus(fmt.Errorf("rehearse the gang: %w", err))
	}
	if c.rehearsed.inVain {
		c.rehearsed.behind = !c.rehearsed.cut && snapshotBehind(p, c, asked)
		return nil, p.statusOf(verdict)
	}
	c.fit = found
	if leader == nil {
		return nil, nil
	}
	c.named = sets.New(c.view.Name(found.Leader))
	return &fwk.PreFilterResult{NodeNames: c.named}, nil
}

// snapshotBehind tells whether the scheduler's snapshot shows less room than the ledger on some node that has enough for a pod of a gang by the
// ledger's word: whoever has left that node is in the filters' way still.
func snapshotBehind(p *Plugin, c *cycle, asked placement.Gang) bool {
	infos, err := p.handle.SnapshotSharedLister().NodeInfos().List()
	if err != nil {
		p.logger.Error(err, "Nodes of a failed attempt cannot be read")
		return false
	}
	var sizes []resource.Vector
	if asked.Leader != nil {
		sizes = append(sizes, asked.Leader.Request)
	}
	for _, role := range asked.Roles {
		if !slices.ContainsFunc(sizes, role.Request.Equal) {
			sizes = append(sizes, role.Request)
		}
	}
	c.work.Spend(len(infos) * len(sizes))
	return slices.ContainsFunc(infos, func(info fwk.NodeInfo) bool {
		i, known := c.view.Index(info.Node().Name)
		if !known {
			return false
		}
		free := *c.view.Free(i)
		return slices.ContainsFunc(sizes, func(size resource.Vector) bool { return size.Fits(free) }) && !free.Fits(roomOf(info))
	})
}

// roomOf is what a node has free as the scheduler's snapshot shows it.
func roomOf(info fwk.NodeInfo) resource.Vector {
	used := info.GetRequested()
	taken := resource.Vector{CPU: used.GetMilliCPU(), Memory: used.GetMemory(), EphemeralStorage: used.GetEphemeralStorage(), Pods: int64(len(info.GetPods()))}
	return resource.OfList(info.Node().Status.Allocatable).Sub(taken.WithExtended(used.GetScalarResources()))
}

// rehearse runs a rehearsal of a gang in the scheduling cycle of a pod.
func (p *Plugin) rehearse(ctx context.Context, state fwk.CycleState, question rehearsal.Question) (*rehearsal.Found, gang.Verdict, error) {
	blank := state.Clone()
	blank.Delete(cycleKey)
	return rehearsal.Run(ctx, p.framework, p.handle.MutableSnapshotSharedLister(), blank, question)
}
