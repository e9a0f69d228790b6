package plugin

import (
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/resource"
)

func TestAReservationIsReadBackAsItWasWritten(t *testing.T) {
	four, request := 4, resource.Vector{CPU: 1500, Memory: 1408 << 20, Pods: 1, Extended: []resource.Amount{{Name: "nvidia.com/gpu", Value: 1}}}
	worker := &v1.Pod{Spec: v1.PodSpec{
		NodeSelector: map[string]string{"pool": "batch"},
		Tolerations:  []v1.Toleration{{Key: "batch", Operator: v1.TolerationOpExists}},
		Affinity: &v1.Affinity{NodeAffinity: &v1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &v1.NodeSelector{
			NodeSelectorTerms: []v1.NodeSelectorTerm{{MatchExpressions: []v1.NodeSelectorRequirement{{Key: "zone", Operator: v1.NodeSelectorOpIn, Values: []string{"a"}}}}},
		}}},
	}}
	want := ledger.Reservation{
		Definition: gang.Definition{Source: AnnotationReservation, Roles: []gang.Role{{
			Name: "executor", Count: 3, Minimum: 2, Maximum: &four, Selector: map[string]string{"app": "x"}, Requests: request, Pod: worker,
		}}},
		Slots: []gang.Slot{{Node: "a", Requests: request}, {Node: "a", Requests: request}, {Node: "", Requests: request}},
	}
	text, err := encodeReservation(want)
	require.NoError(t, err)
	got, err := decodeReservation(text)
	require.NoError(t, err)
	require.Equal(t, want, *got)
}

func TestAReservationThatSomebodyHasTamperedWithIsRefused(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"not JSON":              {"{", "unexpected end"},
		"a role out of range":   {`{"slots":[{"role":0,"node":"a","count":1}]}`, "slots[0]: role 0"},
		"a negative role":       {`{"slots":[{"role":-1,"node":"a","count":1}]}`, "slots[0]: role -1"},
		"a negative count":      {`{"roles":[{"name":"e","count":-1}]}`, "roles[0]: count -1"},
		"minimum above count":   {`{"roles":[{"name":"e","count":1,"minimum":2}]}`, "minimum 2"},
		"a negative slot count": {`{"roles":[{"name":"e"}],"slots":[{"role":0,"node":"a","count":-1}]}`, "slots[0]: count -1"},
		"too many slots":        {`{"roles":[{"name":"e"}],"slots":[{"role":0,"node":"a","count":60000},{"role":0,"node":"b","count":60000}]}`, "slots[1]: count 60000"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := decodeReservation(test.text)
			require.ErrorContains(t, err, test.want)
		})
	}
}

func FuzzDecodeReservation(f *testing.F) {
	f.Add(`{"roles":[{"name":"executor","count":1,"minimum":1,"requests":{"cpu":"1"}}],"slots":[{"role":0,"node":"a","count":1}]}`)
	f.Add(`{"roles":[{"requests":{"cpu":"-1e99"}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		reservation, err := decodeReservation(text)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(reservation.Slots), maxReservedWorkers)
		for _, slot := range reservation.Slots {
			require.Less(t, slot.Role, len(reservation.Definition.Roles))
		}
	})
}
