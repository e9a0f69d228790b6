package plugin

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/kubernetes/pkg/scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/spark"
)

// gangOfOne leads a gang of two executors of so many cores.
func gangOfOne(name string, cores int) *v1.Pod {
	pod := lone(name, 1)
	pod.UID = types.UID(name + "-uid")
	pod.Labels = map[string]string{spark.LabelGang: name}
	pod.Annotations = map[string]string{spark.AnnotationRoles: fmt.Sprintf(`[{name: executor, count: 2, requests: {cpu: "%d"}}]`, cores)}
	return pod
}

// BenchmarkPreEnqueue is a gang at the Gate that waits among so many others for room, of a hundred shapes: every event of its pod
// brings it there.
func BenchmarkPreEnqueue(b *testing.B) {
	for _, waiting := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint("waiting=", waiting), func(b *testing.B) {
			h := newHarness(b, nil, "", nil)
			defer h.stop()
			h.plugin.tell(ledger.Synced{})
			h.plugin.tell(ledger.NodeSeen{Node: node("a", 16)})
			informer := h.plugin.handle.SharedInformerFactory().Core().V1().Pods().Informer().GetIndexer()
			pods := make([]*v1.Pod, waiting)
			for i := range pods {
				pods[i] = gangOfOne(fmt.Sprint("app-", i), 10+i%100)
				pods[i].CreationTimestamp = metav1.NewTime(time.Unix(int64(i), 0))
				require.NoError(b, informer.Add(pods[i]))
				h.plugin.tell(ledger.PodSeen{Pod: h.plugin.describe(pods[i])})
				definition, _, err := spark.FromAnnotations(pods[i])
				require.NoError(b, err)
				h.plugin.tell(ledger.Defined{Leader: pods[i].UID, Definition: definition})
				h.plugin.tell(ledger.Refused{UID: pods[i].UID, Epoch: h.plugin.ledger.View().Epoch, Verdict: gang.Verdict{Reason: gang.ClusterFull, Message: "no room"}})
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				h.plugin.PreEnqueue(h.ctx, pods[i%waiting])
				i++
			}
		})
	}
}

// BenchmarkFilter is one node asked for one pod: a leader whose gang fits, and a pod alone.
func BenchmarkFilter(b *testing.B) {
	for _, count := range []int{100, 1000, 10_000} {
		for name, pod := range map[string]*v1.Pod{"leader": gangOfOne("app", 2), "pod": lone("p", 1)} {
			b.Run(fmt.Sprintf("%s/nodes=%d", name, count), func(b *testing.B) {
				h := newHarness(b, nil, "", nil)
				defer h.stop()
				h.plugin.tell(ledger.Synced{})
				infos := make([]*framework.NodeInfo, count)
				for i := range infos {
					infos[i] = framework.NewNodeInfo()
					infos[i].SetNode(node(fmt.Sprint("node-", i), 16))
					h.plugin.tell(ledger.NodeSeen{Node: infos[i].Node()})
				}
				h.plugin.tell(ledger.PodSeen{Pod: h.plugin.describe(pod)})
				if definition, leads, _ := spark.FromAnnotations(pod); leads {
					h.plugin.tell(ledger.Defined{Leader: pod.UID, Definition: definition})
				}
				state := framework.NewCycleState()
				_, status := h.plugin.PreFilter(h.ctx, state, pod, nil)
				require.True(b, status.IsSuccess(), "%v", status)
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if status := h.plugin.Filter(h.ctx, state, pod, infos[i%count]); !status.IsSuccess() {
						b.Fatal(status)
					}
					i++
				}
			})
		}
	}
}
