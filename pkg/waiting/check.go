package waiting

import (
	"fmt"
	"time"

	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

// Worth tells whether a waiter would be tried in a pass if it were its turn and its queue let it in, with so much free in all.
func (r *Room) Worth(w *Waiter, now time.Time, free resource.Vector, pass uint64) bool {
	s := w.signature
	if !s.due || s.at == ready || now.Before(r.earliest(s)) {
		return false
	}
	return s.failed.IsZero() || s.affordable(free, r.epochs.nodes) && s.pass != pass
}

// Check is what is wrong with what the Room remembers, and whom it has forgotten to try when nobody is being tried and Next has
// just found nobody; nil means nothing. It is for tests: it looks at everybody.
func (r *Room) Check(now time.Time, free resource.Vector) error {
	if err := checkSignatures(r); err != nil {
		return err
	}
	if err := checkParked(r); err != nil {
		return err
	}
	for i, w := range r.flight.waiters {
		if r.waiters[w.ID()] != w || !w.Trying() || i > 0 && w.began.Before(r.flight.waiters[i-1].began) {
			return fmt.Errorf("%s is tried and does not wait, or was let through out of turn", w.ID())
		}
	}
	if len(r.flight.waiters) > 0 || r.stirred {
		return nil
	}
	for _, w := range r.waiters {
		fits := r.tree.Fits(w.Asks.Queue, demandOf(w)).Passes()
		if fits && r.Worth(w, now, free, r.passes.number) {
			return fmt.Errorf("%s could be tried, and nobody is", w.ID())
		}
		s := w.signature
		if fits && s.due && !now.Before(r.earliest(s)) && s.affordable(free, r.epochs.nodes) && !now.Before(r.passes.rest) {
			return fmt.Errorf("%s waits for the next pass, and none begins", w.ID())
		}
	}
	return nil
}

func demandOf(w *Waiter) quota.Demand {
	d := w.Asks.Demand
	d.Promised = w.Promised
	return d
}

func checkSignatures(r *Room) error {
	waiters, groups := map[*signature]int{}, 0
	for id, w := range r.waiters {
		if w.ID() != id || r.signatures[w.signature.key] != w.signature {
			return fmt.Errorf("%s has the signature %q of nobody", id, w.signature.key)
		}
		waiters[w.signature]++
	}
	for key, s := range r.signatures {
		if s.waiters != waiters[s] || s.waiters == 0 {
			return fmt.Errorf("signature %q counts %d waiters of %d", key, s.waiters, waiters[s])
		}
		if s.at == inTurn && len(s.groups) > 0 && (!s.wakes || !r.stirred) {
			return fmt.Errorf("signature %q is in turn, and %d of its groups are passed over for it", key, len(s.groups))
		}
		if s.at == nowhere || s.at == asleep && s.due || s.at == later && (*s.pile)[s.index] != s {
			return fmt.Errorf("signature %q is lost", key)
		}
		if s.at == ready && (r.shelves.ready[s.index] != s || byRest.Before(s, r.shelves.ready[max(s.index-1, 0)/2])) {
			return fmt.Errorf("signature %q is ready out of order", key)
		}
		if s.at == later && s.pile == r.shelves.former && !r.stirred {
			return fmt.Errorf("signature %q has waited for this pass, and nobody looks at it", key)
		}
		groups += len(s.groups)
	}
	for _, kept := range r.blocked {
		groups += len(*kept)
	}
	if groups != len(r.parked) {
		return fmt.Errorf("%d groups are passed over, and %d are known", groups, len(r.parked))
	}
	return nil
}

func checkParked(r *Room) error {
	for g, p := range r.parked {
		if p.index >= len(*p.list) || (*p.list)[p.index] != g || !g.Parked() || g.Gone() {
			return fmt.Errorf("a group is passed over and not where it is looked for: %+v", p.verdict)
		}
	}
	for _, w := range r.waiters {
		if w.group.Parked() != (r.parked[w.group] != nil) {
			return fmt.Errorf("%s is passed over for nothing", w.ID())
		}
	}
	return nil
}
