package ledger

import (
	"slices"
	"time"
)

// outcome is the event that is being applied, and what has to be done about it. A reservation is written down once an event.
type outcome struct {
	now     time.Time
	effects []Effect
}

// revise sends a pod that has no node yet through the Gate again: what it was told there is not true any more.
func (o *outcome) revise(p *pod) {
	if p.placed == "" {
		o.effects = append(o.effects, Activate{p.Object})
	}
}

// save asks for the reservation of a leader's gang to be written down again, once an event.
func (o *outcome) save(e *entry) {
	if e.upfront != nil {
		return // where its pods are says it all
	}
	written := Save{e.leader.Object}
	if !slices.Contains(o.effects, Effect(written)) {
		o.effects = append(o.effects, written)
	}
}
