package ledger

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/scaleup"
	"retinue.dev/retinue/pkg/waiting"
)

const (
	// singlesAtOnce bounds how many pods by themselves are followed that lack room, and siblingsAtOnce how many of those that ask for the
	// same are a reason to buy nodes at the same time.
	singlesAtOnce  = 1000
	siblingsAtOnce = 100
	// longestWords bounds what is repeated of an autoscaler's words, in bytes.
	longestWords = 256
)

// scaleUps is what an autoscaler is asked for. A request is open only for a gang that waits, that its queue lets in, and that the nodes as
// they are cannot hold; it ends with the wait. Nothing is asked for while the cluster is not elastic.
type scaleUps struct {
	members  *members
	outcome  *outcome
	accounts *accounts
	waits    *waits
	waiting  *waiting.Room

	// requests is nil while the cluster is not elastic.
	requests *scaleup.Requests
	// gangs are those for which a request is open, by leader.
	gangs map[types.UID]asking
	// singles are pods by themselves that nodes have refused, and reasons those that are a reason to buy nodes; nobody asks for them, as they
	// exist. Both only where there are queues: elsewhere everybody is tried, and is one.
	singles, reasons map[types.UID]*waiting.Waiter
	// stale are those whose condition says something else than is true since it changed while they were being tried: an attempt that fails writes
	// it, and one that is never made does not.
	stale map[types.UID]*waiting.Waiter
}

// asking is a gang for which a request is open.
type asking struct {
	*waiting.Waiter // as it waited then
	// together means that its leader is asked for with the others, so that it is no reason to buy nodes by itself. What a queue says of
	// placement later counts for the next request.
	together bool
}

// elastic tells whether there is an autoscaler to ask.
func (s *scaleUps) elastic() bool { return s.requests != nil }

// set makes the cluster elastic, or with nil ends that. Nobody lacks anything yet.
func (s *scaleUps) set(limits *scaleup.Limits) {
	if s.elastic() {
		for _, id := range s.requests.Listed() {
			s.end(id)
		}
	}
	clear(s.singles)
	clear(s.stale)
	clear(s.reasons)
	s.requests = nil
	if limits == nil {
		return
	}
	s.requests = scaleup.New(*limits)
}

// lacks takes that nodes have refused a waiter. A gang that nothing but more nodes can help asks at once.
func (s *scaleUps) lacks(w *waiting.Waiter, r Refused) {
	if !s.elastic() {
		return
	}
	if !r.Verdict.Reason.Trait().Nodes || r.Behind {
		if s.members.gangs[w.ID()] != nil && r.Verdict.OfQueue() {
			s.over(w.ID())
		}
		return
	}
	s.enter(w, r.Verdict.OfRoom() || r.Rehearsed)
	s.chooseAtOnce(w)
}

// enter notes that a waiter lacks room on nodes; frees means that the end of others could make it.
func (s *scaleUps) enter(w *waiting.Waiter, frees bool) {
	e := s.members.gangs[w.ID()]
	if e == nil {
		if s.accounts.queued() && len(s.singles) < singlesAtOnce {
			s.singles[w.ID()] = w
		}
		return
	}
	if s.gangs[w.ID()].Waiter != w {
		s.end(w.ID()) // it asked for something else then
	}
	s.requests.Lacks(w.ID(), scaleup.Need{Queue: s.queueOf(e), Since: s.outcome.now, Frees: frees})
}

// queueOf is what the requests of a gang are counted by: its queue, or its namespace where that belongs to none.
func (s *scaleUps) queueOf(e *entry) string {
	if queue := s.accounts.queueOf(e.Key.Namespace); queue != quota.Unassigned {
		return "queue " + queue
	}
	return "namespace " + e.Key.Namespace
}

// first tells whether nothing is to be taken back for a waiter because nodes may come.
func (s *scaleUps) first(id types.UID) bool {
	return s.elastic() && s.requests.BeforeReclaim(s.outcome.now, id)
}

// ask asks for the nodes that a gang lacks.
func (s *scaleUps) ask(w *waiting.Waiter) {
	e := s.members.gangs[w.ID()]
	s.members.spread(w.ID())
	asks := s.waits.asks(w.ID())
	var missing []inventory.Pods
	if e.upfront == nil {
		missing = scaleup.Missing(asks)
	}
	s.gangs[w.ID()] = asking{w, e.upfront == nil && scaleup.WithLeader(asks)}
	if len(missing) > 0 {
		s.outcome.effects = append(s.outcome.effects, ScaleUp{Leader: e.leader.Object, Pods: missing, Strategy: asks.Strategy})
	}
	s.outcome.effects = append(s.outcome.effects, Tell{e.leader.Object, gang.Verdict{Reason: gang.ScaleUpRequested, Message: asked(e, missing)}})
}

// asked says what is asked for.
func asked(e *entry, missing []inventory.Pods) string {
	if e.upfront != nil {
		return "the autoscaler is asked for room for its pods"
	}
	var parts []string
	for _, pods := range missing {
		parts = append(parts, fmt.Sprintf("%d × %s of %s", pods.Count, pods.Name, pods.Requests))
	}
	if len(parts) == 0 {
		return "the autoscaler is asked for room for the leader"
	}
	if missing[0].Name == leaderName {
		return "the autoscaler is asked for room in one zone for " + strings.Join(parts, ", ")
	}
	return "the autoscaler is asked for room for the leader and " + strings.Join(parts, ", ")
}

// refresh lets the condition of a waiter that is not being tried say what is true now: whether it is a reason to buy nodes.
func (s *scaleUps) refresh(w *waiting.Waiter) {
	s.members.spread(w.ID())
	delete(s.stale, w.ID())
	if w.Trying() {
		s.stale[w.ID()] = w
	} else if w.Failed() {
		s.outcome.effects = append(s.outcome.effects, Tell{s.members.object(w.ID()), s.waits.verdict(w)})
	}
}

// end ends a request, and tells whether one was open.
func (s *scaleUps) end(id types.UID) bool {
	if _, open := s.gangs[id]; !open {
		return false
	}
	s.requests.End(id)
	s.endAsked(id)
	return true
}

// endAsked takes back what is asked for a gang, and leaves to everybody what has come of it.
func (s *scaleUps) endAsked(id types.UID) {
	delete(s.gangs, id)
	s.waits.leaveArrived(id)
	s.outcome.effects = append(s.outcome.effects, ScaleUpEnded{Leader: id})
}

// arrives keeps a node that comes for those for whom nodes are asked for, the oldest first.
func (s *scaleUps) arrives(node string) {
	if !s.elastic() {
		return
	}
	for _, id := range s.requests.Listed() {
		if w := s.gangs[id].Waiter; w != nil && s.waiting.Of(id) == w {
			s.waits.keepArrived(w, node)
		}
	}
}

// over ends what is asked for a gang that still waits, for something else than nodes.
func (s *scaleUps) over(id types.UID) {
	if s.end(id) {
		s.refresh(s.waiting.Of(id))
	} else {
		s.requests.End(id)
	}
}

// settle ends the requests of those who do not wait any more, or ask for something else.
func (s *scaleUps) settle() {
	if len(s.gangs) == 0 {
		return
	}
	for _, id := range s.requests.Listed() {
		if s.waiting.Of(id) != s.gangs[id].Waiter {
			s.end(id)
		}
	}
}

// tick ends requests that nothing has come of, or whose gang waits for something else now.
func (s *scaleUps) tick() {
	if !s.elastic() {
		return
	}
	open := s.requests.Listed()
	for i, id := range open {
		switch w := s.waiting.Of(id); {
		case w == nil: // settle ends it
		case !s.may(w, open[:i]):
			s.over(id)
		case s.requests.Expired(s.outcome.now, id):
			s.refuse(w)
		}
	}
}

// tickConditions lets conditions say what is true now: of pods by themselves, besides those for whom nodes are asked for, and of those that could not
// be told when it changed.
func (s *scaleUps) tickConditions() {
	s.tickSingles()
	for _, w := range sortedWaiters(s.stale) {
		if s.waiting.Of(w.ID()) != w {
			delete(s.stale, w.ID())
		} else if !w.Trying() {
			s.refresh(w)
		}
	}
}

// refuse ends a request in vain: others go on, and it is tried again later.
func (s *scaleUps) refuse(w *waiting.Waiter) {
	s.requests.Refuse(s.outcome.now, w.ID())
	s.endAsked(w.ID())
	s.members.spread(w.ID())
	verdict, _ := s.refused(w)
	w.Hears(verdict.Reason, true)
	s.outcome.effects = append(s.outcome.effects, Tell{s.members.object(w.ID()), verdict})
}

// refused is the verdict on a waiter whose request was refused, while it rests.
func (s *scaleUps) refused(w *waiting.Waiter) (gang.Verdict, bool) {
	if !s.elastic() {
		return gang.Verdict{}, false
	}
	refusal, rests := s.requests.Refused(s.outcome.now, w.ID())
	if !rests {
		return gang.Verdict{}, false
	}
	message := fmt.Sprintf("no nodes that hold it have come in %s", refusal.Waited.Round(time.Second))
	if refusal.Words != "" {
		message += "; the autoscaler says: " + refusal.Words
	}
	// It stays the same until the next attempt: it is written down once.
	message += fmt.Sprintf("; that was attempt %d, the next is at %s", refusal.Times, clock(refusal.Until))
	return gang.Verdict{Reason: gang.ScaleUpRefused, Message: message}, true
}

// answered notes what the autoscaler says of a gang's request.
func (s *scaleUps) answered(id types.UID, answer scaleup.Answer) {
	if s.elastic() {
		if len(answer.Words) > longestWords {
			answer.Words = strings.ToValidUTF8(answer.Words[:longestWords], "") + "…"
		}
		s.requests.Answered(s.outcome.now, id, answer)
	}
}

// tickSingles finds out which pods by themselves are a reason to buy nodes: those that nodes have refused, and those that ask for the same,
// which are not tried before it has room, so that an autoscaler would hear of one after the other. All of them together are within the
// limits of their queues, besides the gangs for which nodes are asked for.
func (s *scaleUps) tickSingles() {
	former := s.reasons
	if len(s.singles)+len(former) == 0 {
		return
	}
	s.reasons = map[types.UID]*waiting.Waiter{}
	undo := []func(){s.accounts.queues.Simulate(s.started(s.requests.Listed()))}
	takes := func(w *waiting.Waiter) bool {
		if !s.accounts.queues.FitsAlone(w.Asks.Queue, w.Asks.Demand).Passes() {
			return false
		}
		undo = append(undo, s.accounts.queues.Simulate([]quota.Change{{Queue: w.Asks.Queue, Demand: w.Asks.Demand, Charged: 1}}))
		s.reasons[w.ID()] = w
		return true
	}
	var alike []*waiting.Waiter // singles that may start
	for _, w := range sortedWaiters(s.singles) {
		if s.waiting.Of(w.ID()) != w {
			delete(s.singles, w.ID())
		} else if takes(w) {
			alike = append(alike, w)
		}
	}
	left := siblingsAtOnce
	for _, w := range alike {
		siblings := waiting.Siblings(s.waiting, w, left)
		left -= len(siblings)
		for _, sibling := range siblings {
			if s.reasons[sibling.ID()] == nil && !takes(sibling) {
				break
			}
		}
	}
	for _, undo := range slices.Backward(undo) {
		undo()
	}
	for _, w := range sortedWaiters(s.reasons) {
		if former[w.ID()] != w {
			s.refresh(w)
		}
	}
	for _, w := range sortedWaiters(former) {
		if s.reasons[w.ID()] != w && s.waiting.Of(w.ID()) == w {
			s.refresh(w)
		}
	}
}

func sortedWaiters(waiters map[types.UID]*waiting.Waiter) []*waiting.Waiter {
	return slices.SortedFunc(maps.Values(waiters), func(a, b *waiting.Waiter) int { return a.Turn.Compare(b.Turn) })
}

// condition is the reason of the condition PodScheduled of a pod that waits for a reason; empty means that kube-scheduler found its own
// words. In an elastic cluster a gang is a reason to buy nodes only while its own request is open: otherwise an autoscaler would buy
// for a lone leader, or again and again for those who wait for their queue.
func (s *scaleUps) condition(p *pod, reason gang.Reason) string {
	usual := v1.PodReasonUnschedulable
	if reason != "" {
		usual = reason.Condition()
	}
	if !s.elastic() || p == nil || usual != v1.PodReasonUnschedulable {
		return usual
	}
	open := false
	switch e := s.members.gangOf(p); {
	case p.Kind == Leader && e == nil: // another leads its application
	case e != nil && !e.Phase.Admitted() && (p.Kind == Leader || e.upfront != nil):
		asks, asked := s.gangs[e.leader.UID]
		open = asked && !asks.together
	default:
		open = !s.accounts.queued() || s.waiting.Of(p.UID) == nil || s.reasons[p.UID] != nil
	}
	if open {
		return usual
	}
	return gang.WaitingForTurn
}

// Condition is the reason that the condition PodScheduled of a pod gets that waits for a reason; empty means that it is
// kube-scheduler that says why.
func (l *Ledger) Condition(uid types.UID, reason gang.Reason) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.scaleUps.condition(l.members.pods[uid], reason)
}
