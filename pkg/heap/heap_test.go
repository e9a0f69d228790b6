package heap

import (
	"cmp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

type item struct{ value, name, at int }

var byValue = Order[*item]{
	Before: func(a, b *item) bool { return cmp.Or(cmp.Compare(a.value, b.value), cmp.Compare(a.name, b.name)) < 0 },
	Place:  func(i *item) *int { return &i.at },
}

// Whatever is put, moved and taken out: the first goes before all others, every item knows where it stands, and While finds what
// a look at everybody finds.
//
// Seen failing when an item that took the place of one that was taken out moved down only, and when the last item was taken out and
// kept its place.
func TestTheFirstGoesBeforeAllOthers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var heap, there, out []*item
		value := func() int { return rapid.IntRange(0, 20).Draw(t, "value") }
		for name := range rapid.IntRange(1, 60).Draw(t, "events") {
			switch rapid.SampledFrom([]string{"put", "put", "put", "move", "remove", "remove again", "all change"}).Draw(t, "event") {
			case "put":
				added := &item{value: value(), name: name, at: Absent}
				there = append(there, added)
				byValue.Put(&heap, added)
			case "move":
				if len(there) > 0 {
					moved := rapid.SampledFrom(there).Draw(t, "which")
					moved.value = value()
					byValue.Put(&heap, moved)
				}
			case "remove":
				if len(there) > 0 {
					at := rapid.IntRange(0, len(there)-1).Draw(t, "which")
					out = append(out, there[at])
					byValue.Remove(&heap, there[at])
					there = slices.Delete(there, at, at+1)
				}
			case "remove again":
				if len(out) > 0 {
					byValue.Remove(&heap, rapid.SampledFrom(out).Draw(t, "which"))
				}
			case "all change":
				for _, i := range there {
					i.value = value()
				}
				byValue.Init(heap)
			}
			require.ElementsMatch(t, there, heap)
			for at, i := range heap {
				require.Equal(t, at, i.at)
				require.False(t, byValue.Before(i, heap[0]), "%v goes before %v", i, heap[0])
			}
			for _, i := range out {
				require.Equal(t, Absent, i.at)
			}
			most := value()
			upTo := func(i *item) bool { return i.value <= most }
			want := slices.DeleteFunc(slices.Clone(there), func(i *item) bool { return !upTo(i) })
			require.ElementsMatch(t, want, slices.Collect(While(heap, upTo)))
		}
	})
}
