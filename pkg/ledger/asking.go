package ledger

import (
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/waiting"
)

const (
	// lookPatience is how long somebody may be waited for to be looked at who may take something back.
	lookPatience = 5 * time.Second
	// needsAtOnce bounds how many that may lack nodes are gone through while the lock is held: some microseconds each.
	needsAtOnce = 200
	// fewNeeds is with how many that lack nodes one more is asked for as soon as nodes have refused it: else the next tick finds out whose turn it is.
	fewNeeds = 50
)

// askForNodes opens requests for those who are due, in the order of their queues: of every queue the first in turn, and at most one. They are
// gone through in parts, between which the lock is given back, and again after every request, which others are asked for besides. begins
// means that the cluster has just become elastic, or is no more.
func askForNodes(l *Ledger, now time.Time, begins bool) (effects []Effect) {
	s := l.scaleUps
	part := func(f func()) {
		effects = append(effects, l.hold(now, func() {
			if s.elastic() { // that may have ended meanwhile
				f()
			}
		})...)
	}
	if begins {
		enterAll(l)
	}
	var left []types.UID
	part(func() { left = s.requests.Remembered() })
	for len(left) > 0 {
		firsts := map[string]quota.First{}
		for some := range slices.Chunk(left, needsAtOnce) {
			part(func() { s.consider(firsts, some) })
		}
		part(func() { s.choose(firsts, nil) })
		left = left[:0]
		for _, first := range firsts {
			left = append(left, first.ID)
		}
	}
	part(s.tickConditions)
	return effects
}

// enterAll notes of all who wait whether they lack nodes, when the cluster has become elastic.
func enterAll(l *Ledger) {
	l.inParts(func(w *waiting.Waiter) { // in no order: nothing is asked for yet
		if l.scaleUps.elastic() && l.waiting.Reason(w).Trait().Nodes {
			l.scaleUps.enter(w, w.Verdict().OfRoom() || w.Rehearsed())
		}
	})
}

// chooseAtOnce opens requests for those who are due if somebody has become that whose attempt has just failed, and few are to be gone through.
func (s *scaleUps) chooseAtOnce(failing *waiting.Waiter) {
	if lack, _, _ := s.requests.Len(); lack > fewNeeds || !s.requests.Due(s.outcome.now, failing.ID()) {
		return
	}
	firsts := map[string]quota.First{}
	for s.consider(firsts, s.requests.Remembered()); len(firsts) > 0; {
		s.choose(firsts, failing)
	}
}

// consider goes through some of whom something is remembered, and notes the first in turn of every queue of those who are due:
// queue -> waiter. Whoever does not wait any more is forgotten.
func (s *scaleUps) consider(firsts map[string]quota.First, some []types.UID) {
	var may []types.UID
	undo := s.accounts.queues.Simulate(s.started(s.requests.Listed()))
	for _, id := range some {
		switch e, w := s.members.gangs[id], s.waiting.Of(id); {
		case e == nil || e.Phase != gang.Waiting:
			s.requests.Forget(id)
		case !s.requests.Due(s.outcome.now, id):
		case w == nil || !w.Verdict().Reason.Trait().Nodes:
			s.requests.End(id) // it asks for something else now, and is yet to be tried
		case s.letsIn(w):
			may = append(may, id)
		}
	}
	undo()
	for _, id := range may {
		if s.takesBack(s.waiting.Of(id)) {
			continue
		}
		first, waits := quota.FirstOf(s.accounts.queues, id)
		if best, known := firsts[first.Queue]; waits && (!known || first.Before(&best)) {
			firsts[first.Queue] = first
		}
	}
}

// choose opens a request for the first in turn of these firsts of their queues, which is none of them any more. kube-scheduler is writing
// the condition of failing, whose attempt has just failed; nil means nobody.
func (s *scaleUps) choose(firsts map[string]quota.First, failing *waiting.Waiter) {
	if s.requests.Full() {
		clear(firsts)
	}
	for asks := range quota.InTurn(s.accounts.queues, slices.Collect(maps.Values(firsts))) {
		delete(firsts, asks.Queue)
		w := s.waiting.Of(asks.ID)
		if w == nil || !s.requests.Due(s.outcome.now, asks.ID) || !s.may(w, s.requests.Listed()) {
			return // it has changed since it was considered, or another has been chosen
		}
		s.requests.Open(s.outcome.now, w.ID())
		if s.ask(w); w != failing {
			s.refresh(w)
		}
		return
	}
}

// may tells whether a gang waits for nothing but nodes, besides these others for which nodes are asked for already.
func (s *scaleUps) may(w *waiting.Waiter, others []types.UID) bool {
	defer s.accounts.queues.Simulate(s.started(others))()
	return s.letsIn(w)
}

// letsIn tells whether its queue lets a gang in besides those that are supposed to have started, and nobody leaves for it.
func (s *scaleUps) letsIn(w *waiting.Waiter) bool {
	return !s.waits.reclaims(w.ID()) && s.accounts.queues.FitsAlone(w.Asks.Queue, w.Asks.Demand).Passes()
}

// takesBack tells whether it is yet to be looked whether others leave for a waiter within its queue's guarantee, and that comes first.
func (s *scaleUps) takesBack(w *waiting.Waiter) bool {
	if !s.requests.AfterReclaim() || !w.Claimed.IsZero() || !s.waits.victims.reclaims[w.Asks.Queue] {
		return false
	}
	spec, _ := s.accounts.queues.Spec(w.Asks.Queue)
	return s.outcome.now.Sub(w.Since) < spec.Reclaim.After+lookPatience && s.accounts.queues.WithinGuarantee(w.Asks.Queue, w.Asks.Demand)
}

// started is what becomes of queues when those have started that wait.
func (s *scaleUps) started(waiters []types.UID) []quota.Change {
	var started []quota.Change
	for _, id := range waiters {
		if w := s.waiting.Of(id); w != nil {
			started = append(started, quota.Change{Queue: w.Asks.Queue, Demand: w.Asks.Demand, Charged: 1})
		}
	}
	return started
}
