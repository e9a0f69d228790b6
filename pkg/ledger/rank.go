package ledger

import (
	"slices"

	"retinue.dev/retinue/pkg/waiting"
)

// lowest is the lowest priority of what may be taken back or over.
func (ws *waits) lowest() int32 {
	lowest := ws.victims.priorities.Lowest()
	for _, c := range ws.collections.list {
		lowest = min(lowest, ws.waiting.Of(c.waiter).Asks.Priority)
	}
	return lowest
}

// outranks tells whether a waiter may take the place of somebody of a lower priority, or take over what is kept for one: the latter also if it
// never preempts, since nobody has to leave for that who need not leave otherwise.
func (ws *waits) outranks(w *waiting.Waiter, lowest int32) bool {
	if w.Asks.Priority <= lowest {
		return false
	}
	return !w.NeverPreempts || slices.ContainsFunc(ws.collections.list, func(c *collection) bool {
		owner := ws.waiting.Of(c.waiter).Asks
		return owner.Queue == w.Asks.Queue && owner.Priority < w.Asks.Priority
	})
}
