package plugin

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	backend "k8s.io/kubernetes/pkg/scheduler/backend/cache"
	"k8s.io/kubernetes/pkg/scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
)

// BenchmarkRehearsal is what a gang costs whose workers have rules about other pods: nodes in three zones with twenty
// pods each. An operation is one scheduling cycle's plan.
func BenchmarkRehearsal(b *testing.B) {
	tests := map[string]struct {
		nodes, workers int
		rule           func(*v1.PodSpec)
		fits           bool
	}{
		"one on each host, 100 of 1000 nodes":     {1000, 100, func(s *v1.PodSpec) { s.Affinity = apart(v1.LabelHostname, selecting("part", "worker")) }, true},
		"one on each host, 1000 of 5000 nodes":    {5000, 1000, func(s *v1.PodSpec) { s.Affinity = apart(v1.LabelHostname, selecting("part", "worker")) }, true},
		"one on each host, one too many for 1000": {1000, 1001, func(s *v1.PodSpec) { s.Affinity = apart(v1.LabelHostname, selecting("part", "worker")) }, false},
		"one in each zone, one too many, 1000":    {1000, 4, func(s *v1.PodSpec) { s.Affinity = apart(v1.LabelTopologyZone, selecting("part", "worker")) }, false},
		"together in a zone, 100 on 1000 nodes":   {1000, 100, func(s *v1.PodSpec) { s.Affinity = together(v1.LabelTopologyZone, selecting("part", "worker")) }, true},
		"a port of the host, 100 of 1000 nodes":   {1000, 100, func(s *v1.PodSpec) { s.Containers[0].Ports = hostPort(4040)[0].Ports }, true},
		"level over zones, 100 on 1000 nodes": {1000, 100, func(s *v1.PodSpec) {
			s.TopologySpreadConstraints = []v1.TopologySpreadConstraint{level(v1.LabelTopologyZone, 1, selecting("part", "worker"))}
		}, true},
		"level over hosts, 100 on 1000 nodes": {1000, 100, func(s *v1.PodSpec) {
			s.TopologySpreadConstraints = []v1.TopologySpreadConstraint{level(v1.LabelHostname, 1, selecting("part", "worker"))}
		}, true},
		"level over zones, 1000 on 5000 nodes": {5000, 1000, func(s *v1.PodSpec) {
			s.TopologySpreadConstraints = []v1.TopologySpreadConstraint{level(v1.LabelTopologyZone, 1, selecting("part", "worker"))}
		}, true},
		"no rule, the fast path, 100 on 1000 nodes": {1000, 100, nil, true},
	}
	for name, test := range tests {
		b.Run(name, func(b *testing.B) {
			h := newHarness(b, filtersInTree, "", nil)
			defer h.stop()
			s := &scene{harness: h, strategy: placement.Pack}
			for i := range test.nodes {
				n := in(fmt.Sprint("zone-", i%3), fmt.Sprint("node-", i), 32)
				s.nodes = append(s.nodes, n)
				for j := range 20 {
					pod := on(n.Name, lone(fmt.Sprint("pod-", i, "-", j), 1))
					pod.Labels = map[string]string{"app": fmt.Sprint("app-", i%7)}
					s.existing = append(s.existing, pod)
				}
			}
			s.leader = lone("leader", 1)
			pod := lone("worker", 2)
			pod.Labels = map[string]string{"part": "worker"}
			if test.rule != nil {
				test.rule(&pod.Spec)
			}
			s.roles = []gang.Role{{Name: "worker", Count: test.workers, Requests: resource.OfPod(pod), Pod: pod}}
			s.see()
			h.nodes.MutableSnapshotSharedLister = backend.NewSnapshot(s.existing, s.nodes)
			for b.Loop() {
				fit, _ := h.plugin.answers.solver.Fit(s.view, s.asked())
				require.NotNil(b, fit)
				if test.rule == nil {
					continue
				}
				found, verdict, err := h.plugin.rehearse(h.ctx, framework.NewCycleState(), s.question(fit))
				require.NoError(b, err)
				require.Equal(b, test.fits, found != nil, "%s", verdict)
			}
		})
	}
}
