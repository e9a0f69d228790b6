package ledger

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
)

// openingPatience is for how long after a start nobody is let through because it is not known yet what a gang asks for that has the first claim
// to what others leave.
const openingPatience = 3 * time.Second

// opening is the time between when everything has been told that existed at the start and when the first may be tried. Where pods are on their
// way out, they may have to go for a gang that the scheduler before this one has nominated, and what they leave is nobody else's while it is
// asked what that gang wants.
type opening struct {
	until time.Time // zero means that not everything has been told, or that it is over
	// forming are the leaders of such gangs.
	forming map[types.UID]struct{}
}

// begin takes that everything has been told.
func (o *opening) begin(m *members, leaving map[types.UID]*pod, now time.Time) {
	o.until, o.forming = now.Add(openingPatience), map[types.UID]struct{}{}
	if len(leaving) == 0 {
		return
	}
	for id, e := range m.gangs {
		if e.upfront == nil && forms(e) && e.leader.Object.Status.NominatedNodeName != "" {
			o.forming[id] = struct{}{}
		}
	}
}

// ends tells, once, that the first may be tried.
func (o *opening) ends(m *members, now time.Time) bool {
	if o.until.IsZero() {
		return false
	}
	for id := range o.forming {
		if e := m.gangs[id]; e == nil || !forms(e) {
			delete(o.forming, id)
		}
	}
	if len(o.forming) > 0 && now.Before(o.until) {
		return false
	}
	*o = opening{}
	return true
}

// forms tells whether it is not known yet what a gang asks for that has no room.
func forms(e *entry) bool { return e.Phase == gang.Forming && e.leader.placed == "" }
