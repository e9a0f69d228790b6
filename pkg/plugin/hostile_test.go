package plugin

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/reservation"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/test/property"
)

// TestNoReservationTextUsesMuchMemory.
//
// Seen failing when the text was decoded at once: 8 MB of roles of nothing, 40 KB once compressed, allocated 900 MB.
func TestNoReservationTextUsesMuchMemory(t *testing.T) {
	packed := func(text string) string {
		packed, err := reservation.Pack([]byte(text))
		if err != nil { // longer than is written, but somebody may
			half, err := reservation.Pack([]byte(text[:reservation.MaxText]))
			require.NoError(t, err)
			return half
		}
		return packed
	}
	const role = `{"name":"a","count":100000,"requests":{"cpu":"1"}}`
	long := strings.Repeat("x", reservation.MaxAnnotations)
	tests := map[string]struct{ text, want string }{
		"very many roles":                 {packed(`{"roles":[` + strings.Repeat("{},", 1_300_000) + `{}]}`), "a list of more than 16"},
		"one role of very many labels":    {packed(`{"roles":[{"selector":{` + strings.Repeat(`"a":"b",`, 20_000) + `"c":"d"}}]}`), "a role of "},
		"an exponent that takes for ever": {`{"roles":[{"requests":{"cpu":"1e-2147483647"}}]}`, `requests[cpu]="1e-2147483647"`},
		"many resources":                  {`{"roles":[{"name":"a","count":1,"requests":` + property.Resources(33, "1") + `}]}`, "roles[0]: 33 different resources, more than 32"},
		"very many slots of nothing":      {packed(`{"roles":[` + role + `],"slots":[` + strings.Repeat("{},", 1_000_000) + `{}]}`), "a list of more than 100000"},
		"very many slots of one node":     {packed(`{"roles":[` + role + `],"slots":[` + strings.Repeat(`{"count":1},`, 99_999) + `{"count":1}]}`), ""},
		"what nobody knows":               {packed(`{"more":"` + strings.Repeat("x", reservation.MaxText-20) + `"}`), ""},
		"longer than is written":          {bomb(t, 64<<20), "a reservation of more than 4194304 bytes"},
		"longer than annotations may be":  {`{"more":"` + long + `"}`, "bytes, more than 262144"},
		"no gzip":                         {reservation.GzipPrefix + "aaaa", "EOF"},
		"no base64":                       {reservation.GzipPrefix + "_", "EOF"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var err error
			property.Within(t, func() { _, err = decodeReservation(test.text) })
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
			assert.Less(t, len(err.Error()), 400)
		})
	}
}

// bomb is a text of the given length, in bytes, that compresses to little.
func bomb(t *testing.T, size int) string {
	var joined strings.Builder
	joined.WriteString(reservation.GzipPrefix)
	reservation.WriteGzip(&joined, []byte(`{"more":"`+strings.Repeat("x", size)+`"}`))
	require.Less(t, joined.Len(), reservation.MaxAnnotations)
	return joined.String()
}

// A gang on every node of a large cluster can be written down, and read back.
func TestAReservationOnVeryManyNodesFitsIntoAnAnnotation(t *testing.T) {
	r := ledger.Reservation{Definition: gang.Definition{Source: AnnotationReservation, Roles: []gang.Role{
		{Name: "executor", Count: 15_000, Minimum: 15_000, Requests: resource.Vector{CPU: 4000, Pods: 1}, Pod: &v1.Pod{}},
	}}}
	var slots []gang.Slot
	for i := range 15_000 {
		node := fmt.Sprintf("ip-10-%d-%d-%d.eu-central-1.compute.internal", i/65536, i/256%256, i%256)
		r.Slots = append(r.Slots, ledger.Run{Node: node, Count: 1})
		slots = append(slots, gang.Slot{Node: node, Requests: resource.Vector{CPU: 4000, Pods: 1}})
	}
	text, err := encodeReservation(r)
	require.NoError(t, err)
	assert.Less(t, len(text), reservation.MaxAnnotations-spareAnnotations)
	got, err := decodeReservation(text)
	require.NoError(t, err)
	assert.Equal(t, r.Slots, got.Slots)
	assert.Empty(t, unwritable(&v1.Pod{}, r.Definition.Roles, slots))
}

// TestADriverThatCannotCarryItsReservationIsRefused: the API server would take the binding, and refuse the kubelet's every update
// of the status afterwards.
//
// Seen failing before anybody asked: the driver was bound with 263,000 bytes of annotations.
func TestADriverThatCannotCarryItsReservationIsRefused(t *testing.T) {
	bubble(t, "", nodes(4, "a", "b"), func(h *harness) {
		roles := `[{name: worker, count: 2, requests: {cpu: 1}, selector: {role: worker}}]`
		pod := lone("leader", 1)
		pod.Annotations = map[string]string{spark.AnnotationRoles: roles, "notes": strings.Repeat("x", reservation.MaxAnnotations-len(roles)-200)}
		h.create(pod)
		a := h.schedule("leader")
		assert.Equal(t, "Reserve", a.point)
		assert.Contains(t, a.status.Message(), "InvalidGang: its reservation takes ")
		assert.Empty(t, h.pod("leader").Spec.NodeName)
		assert.Equal(t, "PreEnqueue", h.schedule("leader").point, "it is not tried again")
		h.create(lone("other", 4), lone("another", 4))
		assert.True(t, h.schedule("other").status.IsSuccess(), "nothing is kept for it")
		assert.True(t, h.schedule("another").status.IsSuccess())
	})
}

// TestWhatAGangSaysAboutNodesIsBounded: every node is compared with all of it, several times in an attempt.
//
// Seen failing before anybody counted: with 20,000 terms, which fit into a pod, one look at 15,000 nodes took seconds.
func TestWhatAGangSaysAboutNodesIsBounded(t *testing.T) {
	long := func(terms int) *v1.Affinity {
		selector := &v1.NodeSelector{}
		for i := range terms {
			selector.NodeSelectorTerms = append(selector.NodeSelectorTerms, v1.NodeSelectorTerm{
				MatchExpressions: []v1.NodeSelectorRequirement{{Key: fmt.Sprint("key-", i), Operator: v1.NodeSelectorOpDoesNotExist}},
			})
		}
		return &v1.Affinity{NodeAffinity: &v1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: selector}}
	}
	bubble(t, "", nodes(4, "a", "b"), func(h *harness) {
		leader := func(name string, terms int) *v1.Pod {
			pod := lone(name, 1)
			pod.Annotations = map[string]string{spark.AnnotationRoles: `[{name: worker, count: 2, requests: {cpu: 1}, selector: {role: worker}}]`}
			pod.Spec.Affinity = long(terms)
			return pod
		}
		h.create(leader("long", placement.MostRules), leader("short", placement.MostRules/2))
		a := h.schedule("long")
		assert.Equal(t, "PreEnqueue", a.point)
		assert.Contains(t, a.status.Message(), "InvalidGang: it has too many rules: spec.nodeSelector, spec.tolerations, spec.affinity and spec.topologySpreadConstraints count as 512, more than 256")
		assert.True(t, h.schedule("short").status.IsSuccess())
		member := lone("member", 1)
		member.Annotations = map[string]string{spark.AnnotationWorkers: "1"}
		member.Labels = map[string]string{spark.LabelGang: "members"}
		member.Spec.Affinity = long(placement.MostRules)
		h.create(member)
		assert.Contains(t, h.schedule("member").status.Message(), "has too many rules")
	})
}

// TestPodsThatDifferDoNotShareASignature: the two texts have the same FNV-1a hash of 64 bits, which anybody can look for.
func TestPodsThatDifferDoNotShareASignature(t *testing.T) {
	assert.Len(t, digest([]byte("a")), 32)
	assert.NotEqual(t, digest([]byte("8yn0iYCKYHlIj4-BwPqk")), digest([]byte("GReLUrM4wMqfg9yzV3KQ")))
}
