package reservation

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
)

// TestWhatIsWrittenIsReadBack, plain while it is short and packed when it is long; slots side by side are one entry.
func TestWhatIsWrittenIsReadBack(t *testing.T) {
	for slots, packed := range map[int]bool{2: false, 1000: true} {
		want := Written{Roles: []Role{{Name: "executor", Count: slots, Minimum: 1, Requests: v1.ResourceList{v1.ResourceCPU: apiresource.MustParse("2")}}}}
		for i := range slots {
			want.Slots = append(want.Slots, Slots{Node: strings.Repeat("n", 1+i%2), Count: 1})
		}
		text, err := json.Marshal(want)
		require.NoError(t, err)
		written, err := Pack(text)
		require.NoError(t, err)
		require.Equal(t, packed, strings.HasPrefix(written, GzipPrefix))
		got, err := Read(written)
		require.NoError(t, err)
		require.Equal(t, want.Slots, got.Slots)
		require.Equal(t, slots, got.Roles[0].Count)
	}
	got, err := Read(`{"roles":[],"slots":[{"node":"a","count":1},{"node":"a","count":2}],"more":{"x":[1]}}`)
	require.NoError(t, err)
	require.Equal(t, []Slots{{Node: "a", Count: 3}}, got.Slots)
}

// TestWhatIsTooLongIsNotRead: whoever may patch a driver can write anything there.
func TestWhatIsTooLongIsNotRead(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString(GzipPrefix)
	WriteGzip(&bomb, []byte(`{"more":"`+strings.Repeat("x", MaxText)+`"}`))
	for text, want := range map[string]string{
		strings.Repeat("x", MaxAnnotations+1): "bytes, more than",
		bomb.String():                         errText.Error(),
		`{} {}`:                               "something follows the reservation",
		`[]`:                                  "no object",
		`{"slots":{}}`:                        "no list",
		`{"roles":[{"name":"a","requests":{"cpu":"1e1000000000"}}]}`: "not a Kubernetes quantity",
	} {
		_, err := Read(text)
		require.ErrorContains(t, err, want)
	}
	_, err := Pack(make([]byte, MaxText+1))
	require.Error(t, err)
}
