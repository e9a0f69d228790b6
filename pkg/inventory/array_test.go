package inventory

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestASharedArrayNeverChanges: each of many arrays made of one another is edited, and is what was written into it and into
// nothing else. The naive twin of each is a copy of every item.
//
// Seen failing when edit did not copy the page, when share did not give the pages up, and when all owners were the same.
func TestASharedArrayNeverChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		arrays, twins := []*array[int]{{}}, [][]int{nil}
		for range rapid.IntRange(1, 100).Draw(t, "events") {
			of := rapid.IntRange(0, len(arrays)-1).Draw(t, "array")
			a := arrays[of]
			switch rapid.SampledFrom([]string{"grow", "grow", "edit", "edit", "share"}).Draw(t, "event") {
			case "grow":
				for range rapid.SampledFrom([]int{1, pageSize - 1, pageSize}).Draw(t, "by") {
					require.Equal(t, len(twins[of]), a.grow())
					twins[of] = append(twins[of], 0)
				}
			case "edit":
				if len(twins[of]) > 0 {
					i, value := rapid.IntRange(0, len(twins[of])-1).Draw(t, "index"), rapid.Int().Draw(t, "value")
					*a.edit(i), twins[of][i] = value, value
				}
			case "share":
				shared := a.share()
				arrays, twins = append(arrays, &shared), append(twins, append([]int(nil), twins[of]...))
			}
		}
		for i, a := range arrays {
			require.Equal(t, len(twins[i]), a.length)
			for at, value := range twins[i] {
				require.Equal(t, value, *a.at(at))
			}
		}
	})
}
