package reclaim

import (
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// Index is all that may be taken back, kept in step with what happens: whoever changes something of a holder says so with
// Touch, and Refresh makes new Holders of those that were touched. Touching costs next to nothing, because most of what is
// touched is touched again before anybody looks.
type Index struct {
	holders []*Holder         // nil where there is none
	at      map[types.UID]int // ID -> index into holders
	spare   []int             // indexes of nil
	touched map[types.UID]struct{}
	queue   []types.UID // the same, in the order in which they were touched
	// shared means that a Cluster has the list; it is copied before it is changed.
	shared bool
}

// NewIndex is an Index of nothing.
func NewIndex() *Index { return &Index{at: map[types.UID]int{}, touched: map[types.UID]struct{}{}} }

// Touch notes that something may have become of a holder, which need not exist.
func (x *Index) Touch(id types.UID) {
	if _, known := x.touched[id]; !known {
		x.touched[id] = struct{}{}
		x.queue = append(x.queue, id)
	}
}

// Refresh makes new Holders of those that were touched until they have so many pods and slots; false means that it has not come
// to the end. now says what a holder is; nil means that it is none.
func (x *Index) Refresh(most int, now func(types.UID) *Holder) bool {
	for len(x.queue) > 0 {
		if most <= 0 {
			return false
		}
		id := x.queue[0]
		x.queue = x.queue[1:]
		delete(x.touched, id)
		h := now(id)
		x.put(id, h)
		most--
		if h != nil {
			most -= len(h.Pods) + len(h.Open)
		}
	}
	return true
}

func (x *Index) put(id types.UID, h *Holder) {
	i, known := x.at[id]
	if !known && h == nil {
		return
	}
	if x.shared {
		x.holders, x.shared = slices.Clone(x.holders), false
	}
	switch last := len(x.spare) - 1; {
	case known && h == nil:
		delete(x.at, id)
		x.spare = append(x.spare, i)
	case known:
	case last >= 0:
		i, x.spare = x.spare[last], x.spare[:last]
		x.at[id] = i
	default:
		i, x.holders = len(x.holders), append(x.holders, nil)
		x.at[id] = i
	}
	x.holders[i] = h
}

// Of is a holder as it is now; nil if there is none, or something has become of it since the last Refresh.
func (x *Index) Of(id types.UID) *Holder {
	i, known := x.at[id]
	if _, touched := x.touched[id]; !known || touched {
		return nil
	}
	return x.holders[i]
}

// Len is how many there are.
func (x *Index) Len() int { return len(x.at) }

// Holders are all of them, nil here and there. The list never changes.
func (x *Index) Holders() []*Holder {
	x.shared = true
	return x.holders
}

// Is tells whether a holder is still what it was.
func (x *Index) Is(h *Holder) bool {
	i, known := x.at[h.ID]
	_, touched := x.touched[h.ID]
	return known && !touched && x.holders[i] == h
}

// Check tells whether the Index is what now says of everybody, and of nobody else, once it is refreshed.
func (x *Index) Check(everybody []types.UID, now func(types.UID) *Holder, same func(a, b *Holder) bool) error {
	rest := maps.Clone(x.at)
	for _, id := range everybody {
		i, known := x.at[id]
		delete(rest, id)
		switch want := now(id); {
		case want == nil && known:
			return fmt.Errorf("holder %s is in the index, and holds nothing", id)
		case want != nil && !known:
			return fmt.Errorf("holder %s is not in the index", id)
		case want != nil && !same(want, x.holders[i]):
			return fmt.Errorf("holder %s is %+v in the index, want %+v", id, x.holders[i], want)
		}
	}
	for id := range rest {
		return fmt.Errorf("holder %s is in the index, and nobody knows it", id)
	}
	if len(x.holders) != len(x.at)+len(x.spare) {
		return fmt.Errorf("%d entries for %d holders and %d spare ones", len(x.holders), len(x.at), len(x.spare))
	}
	return nil
}
