package scaleup

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// firstPause is how long somebody rests whose request was refused; it doubles with every further refusal, up to longestPause.
	firstPause   = time.Minute
	longestPause = 30 * time.Minute
	// failingPatience is for how long an autoscaler has to say that it cannot make the room: what it lacks may come free.
	failingPatience = 30 * time.Second
)

// Limits are how much is asked for at a time, and for how long. All of them are greater than zero, but After.
type Limits struct {
	// After is how long somebody waits whose room could come from the end of others, before nodes are asked for. Zero means not at all.
	After time.Duration
	// Timeout is how long a request stays open.
	Timeout time.Duration
	// BeforeReclaim means that nothing is taken back for whom nodes may come; else nodes are asked for when nothing is.
	BeforeReclaim bool
	// PerQueue and Total are how many requests are open at a time.
	PerQueue, Total int
}

// Need is somebody who lacks room on the nodes as they are.
type Need struct {
	// Queue is what PerQueue counts by.
	Queue string
	// Since when the room is lacking.
	Since time.Time
	// Frees means that somebody runs whose end could make the room.
	Frees bool
}

// Request is one that is open.
type Request struct {
	Queue  string
	Opened time.Time
	Answer
	// failing is since when the autoscaler says so; zero while it does not.
	failing time.Time
}

// Answer is what an autoscaler says of a request; the zero Answer is nothing.
type Answer struct {
	Words string
	// Failing means that it cannot make all of the room.
	Failing bool
}

// Refusal is what has become of a request that nothing came of.
type Refusal struct {
	// Until when nothing is asked for again.
	Until time.Time
	// Waited is how long the request was open, and Words what the autoscaler said.
	Waited time.Duration
	Words  string
	// Times in a row that this has happened.
	Times int
}

// Requests are what is asked for at present. A Need has no request that is open, and who rests has neither.
type Requests struct {
	limits   Limits
	needs    map[types.UID]Need
	open     map[types.UID]*Request
	refusals map[types.UID]Refusal
	perQueue map[string]int // queue -> requests that are open; only those with some
}

// New asks for nothing yet.
func New(limits Limits) *Requests {
	return &Requests{limits: limits, needs: map[types.UID]Need{}, open: map[types.UID]*Request{}, refusals: map[types.UID]Refusal{}, perQueue: map[string]int{}}
}

// Lacks notes that somebody lacks room; who is known keeps the time since when. Whose request is open goes on with it.
func (r *Requests) Lacks(id types.UID, need Need) {
	if r.open[id] != nil {
		return
	}
	if known, lacks := r.needs[id]; lacks {
		need.Since = known.Since
	}
	r.needs[id] = need
}

// BeforeReclaim tells whether somebody lacks room and may yet get nodes, and nothing is to be taken back for it before.
func (r *Requests) BeforeReclaim(now time.Time, id types.UID) bool {
	if !r.limits.BeforeReclaim {
		return false
	}
	_, lacks := r.needs[id]
	_, rests := r.Refused(now, id)
	return r.open[id] != nil || lacks && !rests
}

// AfterReclaim tells whether nodes are asked for only when nothing is taken back.
func (r *Requests) AfterReclaim() bool { return !r.limits.BeforeReclaim }

// Due tells whether a request may be opened for somebody now.
func (r *Requests) Due(now time.Time, id types.UID) bool {
	need, lacks := r.needs[id]
	switch {
	case !lacks || r.Full() || r.perQueue[need.Queue] >= r.limits.PerQueue:
		return false
	case now.Before(r.refusals[id].Until):
		return false
	default:
		return !need.Frees || now.Sub(need.Since) >= r.limits.After
	}
}

// Full tells whether Due is false of everybody, because as many requests are open as may be.
func (r *Requests) Full() bool { return len(r.open) >= r.limits.Total }

// Open opens a request for somebody of whom Due is true.
func (r *Requests) Open(now time.Time, id types.UID) {
	need := r.needs[id]
	delete(r.needs, id)
	r.open[id] = &Request{Queue: need.Queue, Opened: now}
	r.perQueue[need.Queue]++
}

// Of is somebody's request; false means that none is open.
func (r *Requests) Of(id types.UID) (Request, bool) {
	if request := r.open[id]; request != nil {
		return *request, true
	}
	return Request{}, false
}

// Listed are those whose requests are open, the oldest first.
func (r *Requests) Listed() []types.UID {
	ids := make([]types.UID, 0, len(r.open))
	for id := range r.open {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b types.UID) int { return cmp.Or(r.open[a].Opened.Compare(r.open[b].Opened), cmp.Compare(a, b)) })
	return ids
}

// Remembered are those of whom something is known but no request is open, in no order.
func (r *Requests) Remembered() []types.UID {
	ids := make([]types.UID, 0, len(r.needs)+len(r.refusals))
	for id := range r.needs {
		ids = append(ids, id)
	}
	for id := range r.refusals {
		if _, lacks := r.needs[id]; !lacks && r.open[id] == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// Forget forgets one of them.
func (r *Requests) Forget(id types.UID) {
	if r.open[id] == nil {
		delete(r.needs, id)
		delete(r.refusals, id)
	}
}

// Len is how many lack room, how many requests are open, and of how many refusals are remembered.
func (r *Requests) Len() (needs, open, refusals int) {
	return len(r.needs), len(r.open), len(r.refusals)
}

// Answered notes what the autoscaler says of somebody's request.
func (r *Requests) Answered(now time.Time, id types.UID, answer Answer) {
	request := r.open[id]
	switch {
	case request == nil:
		return
	case !answer.Failing:
		request.failing = time.Time{}
	case request.failing.IsZero():
		request.failing = now
	}
	request.Answer = answer
}

// Expired tells whether somebody's request has been open for too long, or the autoscaler has said for long enough that it cannot.
func (r *Requests) Expired(now time.Time, id types.UID) bool {
	request := r.open[id]
	return request != nil && (now.Sub(request.Opened) >= r.limits.Timeout || !request.failing.IsZero() && now.Sub(request.failing) >= failingPatience)
}

// Refuse ends a request in vain: it rests, twice as long as the last time.
func (r *Requests) Refuse(now time.Time, id types.UID) Refusal {
	request := r.open[id]
	if request == nil {
		return Refusal{}
	}
	refusal := Refusal{Waited: now.Sub(request.Opened), Words: request.Words, Times: r.refusals[id].Times + 1}
	pause := firstPause
	for n := 1; n < refusal.Times && pause < longestPause; n++ {
		pause *= 2
	}
	refusal.Until = now.Add(min(pause, longestPause))
	r.close(id)
	r.refusals[id] = refusal
	r.needs[id] = Need{Queue: request.Queue, Since: request.Opened}
	return refusal
}

// Refused is why somebody rests; false means that it does not.
func (r *Requests) Refused(now time.Time, id types.UID) (Refusal, bool) {
	refusal, refused := r.refusals[id]
	return refusal, refused && now.Before(refusal.Until)
}

// End ends what is known of somebody's lack, and tells whether a request was open. How often it was refused is remembered.
func (r *Requests) End(id types.UID) bool {
	delete(r.needs, id)
	return r.close(id)
}

func (r *Requests) close(id types.UID) bool {
	request := r.open[id]
	if request == nil {
		return false
	}
	delete(r.open, id)
	if r.perQueue[request.Queue]--; r.perQueue[request.Queue] == 0 {
		delete(r.perQueue, request.Queue)
	}
	return true
}
