package reclaim

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
)

// TestAnIndexIsWhatItWasToldOf compares it with what holders are, however they come, change and go, and however much of that is
// looked at at once; and what a Cluster was given never changes.
//
// Seen failing when put wrote into a list that is shared, and when Refresh forgot whom it had not come to.
func TestAnIndexIsWhatItWasToldOf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, now := NewIndex(), map[types.UID]*Holder{}
		of := func(id types.UID) *Holder { return now[id] }
		var everybody []types.UID
		for i := range 6 {
			everybody = append(everybody, types.UID(fmt.Sprint(i)))
		}
		var given, copies [][]*Holder
		for range rapid.IntRange(1, 40).Draw(t, "events") {
			id := rapid.SampledFrom(everybody).Draw(t, "whom")
			switch rapid.SampledFrom([]string{"changes", "changes", "goes", "refresh", "cluster"}).Draw(t, "event") {
			case "changes":
				now[id] = Holder{ID: id}.With([]Pod{{UID: id, Object: &v1.Pod{}}})
				require.False(t, x.Is(now[id]))
				x.Touch(id)
			case "goes":
				delete(now, id)
				x.Touch(id)
			case "refresh":
				x.Refresh(rapid.IntRange(1, 4).Draw(t, "most"), of)
			case "cluster":
				given, copies = append(given, x.Holders()), append(copies, slices.Clone(x.Holders()))
			}
		}
		for !x.Refresh(1, of) {
		}
		require.NoError(t, x.Check(everybody, of, func(a, b *Holder) bool { return a == b }))
		for _, h := range now {
			require.True(t, x.Is(h))
		}
		for i := range given {
			require.Equal(t, copies[i], given[i])
		}
	})
}
