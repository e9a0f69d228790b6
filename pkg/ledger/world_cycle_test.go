package ledger

import (
	"errors"
	"slices"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/gang"
)

// schedule is one scheduling cycle, as the plugin's extension points run it.
func (w *world) schedule(t *rapid.T, p Pod) {
	// Now and then the Gate and the queue were asked before something else happened.
	hasty := rapid.IntRange(0, 3).Draw(t, "asked earlier") == 0
	if verdict := w.gate(p); !verdict.Passes() && !hasty {
		return
	}
	view := w.ViewFor(p.UID)
	if d, waiting := w.Demand(p.UID); waiting {
		if !d.Verdict.Passes() && !hasty {
			_ = w.apply(Refused{UID: p.UID, Epoch: view.Epoch, Verdict: d.Verdict})
			return
		}
		node, slots, fits := w.plan(view, p, d)
		if !fits {
			_ = w.apply(Refused{UID: p.UID, Epoch: view.Epoch, Verdict: gang.Verdict{Reason: gang.ClusterFull}})
			return
		}
		if d.Upfront && node == "" {
			return // none of those that start together asks for what it does
		}
		w.admit(t, p.UID, d, node, slots)
		return
	}
	if p.Kind == Leader {
		return
	}
	seats := w.Seats(p.UID, 4)
	if !seats.Verdict.Passes() {
		if seats.Verdict.OfQueue() && hasty && view.Len() > 0 {
			w.place(p.UID, view.Name(0))
		} else if seats.Verdict.OfQueue() {
			_ = w.apply(Refused{UID: p.UID, Epoch: view.Epoch, Verdict: seats.Verdict})
		}
		return
	}
	for i := range view.Len() {
		own, seated := seats.Slots[view.Name(i)]
		object := view.Object(i)
		if object != nil && !object.Spec.Unschedulable && (seated || !seats.Pinned) && p.Requests.Fits(view.Free(i).Add(own)) {
			w.place(p.UID, view.Name(i))
			return
		}
	}
	_ = w.apply(Refused{UID: p.UID, Epoch: view.Epoch, Verdict: gang.Verdict{Reason: gang.ClusterFull}})
}

// admit is Reserve and what comes after it.
func (w *world) admit(t require.TestingT, uid types.UID, d Demand, node string, slots []gang.Slot) {
	if !d.Verdict.Passes() {
		admitted := Admitted{Leader: d.Leader, Slots: slots}
		if !d.Upfront {
			admitted.Node = node
		}
		refused := ErrOverQuota
		if w.pods[uid].Held {
			refused = ErrNotWaiting
		}
		require.ErrorIs(t, w.apply(admitted), refused)
		return
	}
	if d.Upfront {
		require.NoError(t, w.apply(Admitted{Leader: d.Leader, Slots: slots}))
		w.place(uid, node)
		return
	}
	if err := w.apply(Admitted{Leader: uid, Node: node, Slots: slots}); w.pods[uid].Held {
		require.ErrorIs(t, err, ErrNotWaiting, "its user holds it back")
		return
	} else if errors.Is(err, ErrRoomGone) {
		e := w.Ledger.members.gangs[uid]
		require.True(t, slices.ContainsFunc(e.Definition.Roles, func(role gang.Role) bool { return e.Observed(role.Name) }), "no worker has shown that more is asked for than was planned")
		return
	} else {
		require.NoError(t, err)
	}
	w.assumed[uid] = node
	w.write(uid)
}

// plannedGang is what an attempt has found, and what for.
type plannedGang struct {
	uid     types.UID
	demand  Demand
	edition uint64
	node    string
	slots   []gang.Slot
}

// think is PreFilter, of an attempt that takes its time.
func (w *world) think(p Pod) {
	w.planned = nil
	attempt := w.attempt(p.UID)
	if !attempt.Gang || !attempt.Demand.Verdict.Passes() {
		return
	}
	if node, slots, fits := w.plan(attempt.View, p, attempt.Demand); fits && (node != "" || !attempt.Demand.Upfront) {
		w.planned = &plannedGang{p.UID, attempt.Demand, attempt.Edition, node, slots}
	}
}

// reserve is Reserve of that attempt, after whatever has happened meanwhile. What it found is for what the gang asked then.
//
// Seen failing when nobody asked: slots were given to a gang that had become another, once those of a role that it did not have any
// more.
func (w *world) reserve(t require.TestingT) {
	planned := w.planned
	w.planned = nil
	if planned == nil {
		return
	}
	p, exists := w.pods[planned.uid]
	if !exists || p.Node != "" || w.assumed[p.UID] != "" {
		return
	}
	admitted := Admitted{Leader: planned.demand.Leader, Slots: planned.slots, Edition: planned.edition}
	if !planned.demand.Upfront {
		admitted.Node = planned.node
	}
	before := w.Ledger.members.gangs[planned.demand.Leader]
	asked := gang.Definition{}
	if before != nil {
		asked = before.Definition
	}
	if w.apply(admitted) != nil {
		return
	}
	require.Equal(t, planned.demand.Definition, asked, "it is admitted with room for something else than it asks for")
	if planned.demand.Upfront {
		w.place(p.UID, planned.node)
		return
	}
	w.assumed[p.UID] = planned.node
	w.write(p.UID)
}

// place is Reserve and Permit.
func (w *world) place(uid types.UID, node string) {
	w.assumed[uid] = node
	if err := w.apply(Placed{uid, node}); err != nil {
		delete(w.assumed, uid)
		return
	}
	switch waits, verdict := w.Barrier(uid); {
	case !verdict.Passes():
		w.takeBack(uid)
	case waits:
		w.barred[uid] = true
	}
}
