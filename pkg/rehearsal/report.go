package rehearsal

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"retinue.dev/retinue/pkg/gang"
)

// refusal is what a plugin says to a pod on a node.
type refusal struct{ plugin, message string }

// report is what was in the way of a gang.
type report struct {
	reasons []refusal  // what members' refused and shortfalls refer to; there are few
	best    *shortfall // the furthest that was reached; nil until a pod found no node
}

// shortfall is where a search got no further.
type shortfall struct {
	placed   int    // pods of the gang that had nodes
	name     string // of the member
	leads    bool   // it is the leader
	pods     int    // of the member
	beside   int    // of those that had nodes
	refused  []int  // index into report.reasons -> nodes with room that refuse for it
	full     int    // nodes without room for another
	excluded int    // nodes that the member may not use
	last     int    // the last node asked, if a filter refused it; else placement.NoNode
	why      int    // index into report.reasons of what it said
}

// reason numbers a refusal.
func (r *report) reason(why refusal) int {
	if i := slices.Index(r.reasons, why); i >= 0 {
		return i
	}
	r.reasons = append(r.reasons, why)
	return len(r.reasons) - 1
}

// note keeps the furthest shortfall.
func (r *report) note(short *shortfall) {
	if r.best == nil || short.placed > r.best.placed {
		r.best = short
	}
}

// count adds a node that refuses for a reason.
func (s *shortfall) count(reason int) {
	for len(s.refused) <= reason {
		s.refused = append(s.refused, 0)
	}
	s.refused[reason]++
}

// verdict says how far the gang got, and what was in the way. Waiting may help whatever that was: pods come and go.
func (s *search) verdict() gang.Verdict {
	best, nodes := s.progress.report.best, s.snapshot.nodes
	if best == nil {
		return gang.Verdict{Reason: gang.Constraints, Message: fmt.Sprintf("no seat for the gang on %d nodes", nodes)}
	}
	reason, parts := gang.Fragmented, []string{}
	var whys []int // index into reasons
	for why, refusing := range best.refused {
		if refusing > 0 {
			whys = append(whys, why)
		}
	}
	slices.SortStableFunc(whys, func(a, b int) int { return cmp.Compare(best.refused[b], best.refused[a]) })
	for _, why := range whys {
		said := s.progress.report.reasons[why]
		if said.plugin != resourcesPlugin {
			reason = gang.Constraints
		}
		parts = append(parts, fmt.Sprintf("%d refuse it by %s (%s)", best.refused[why], said.plugin, said.message))
	}
	if best.full > 0 {
		parts = append(parts, fmt.Sprintf("%d have no room for it", best.full))
	}
	if best.excluded > 0 {
		parts = append(parts, fmt.Sprintf("%d it may not use", best.excluded))
	}
	who := best.name + " finds no node"
	if !best.leads {
		who = fmt.Sprintf("%d of %d pods of role %s find nodes and the next does not", best.beside, best.pods, best.name)
	}
	return gang.Verdict{Reason: reason, Message: fmt.Sprintf("%s: of %d nodes %s", who, nodes, strings.Join(parts, ", "))}
}
