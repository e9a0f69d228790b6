package witness

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Two nodes with room for three pods each; applications of one driver and three executors, all of 1 GiB.
func newTestRecord() *Record {
	gigabytes := func(count string) corev1.ResourceList {
		return corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse(count), corev1.ResourcePods: resource.MustParse("110"),
		}
	}
	return NewRecord(
		Gangs{Executors: 3, Request: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("1Gi")}},
		map[string]corev1.ResourceList{"a": gigabytes("3Gi"), "b": gigabytes("3584Mi")},
	)
}

// pod is named APP-ROLE or APP-ROLE-NUMBER.
func pod(name, node string, change ...func(*corev1.Pod)) *corev1.Pod {
	parts := strings.Split(name, "-")
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), Labels: map[string]string{AppLabel: parts[0], RoleLabel: parts[1]}},
		Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("1Gi")},
		}}}},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

func succeeded(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }

// needing says how many executors a driver needs.
func needing(executors string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Labels[NeedsLabel] = executors }
}

func noNode(p *corev1.Pod) {
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable}}
}

func TestViolations(t *testing.T) {
	for name, test := range map[string]struct {
		pods    []*corev1.Pod // in the order of their events
		deleted []*corev1.Pod // before the last event
		want    []string      // beginnings of the violations
	}{
		"a whole gang": {
			pods: []*corev1.Pod{pod("x-driver", ""), pod("x-driver", "a"), pod("x-executor-1", "a"), pod("x-executor-2", "a"), pod("x-executor-3", "b")},
		},
		"a second driver waits while only one gang fits": {
			pods: []*corev1.Pod{pod("x-driver", "a"), pod("y-driver", "", noNode), pod("x-executor-1", "a"), pod("x-executor-2", "a"), pod("x-executor-3", "b")},
		},
		"a second driver starts in the room that the first gang's executors need": {
			pods: []*corev1.Pod{pod("x-driver", "a"), pod("y-driver", "b")},
			want: []string{"y-driver (resource version ): bound to b while 6 executors of running gangs are missing and only 4 more fit"},
		},
		"a second driver starts and its own executors have no room": {
			pods: []*corev1.Pod{pod("x-driver", "a"), pod("x-executor-1", "a"), pod("x-executor-2", "a"), pod("x-executor-3", "b"), pod("y-driver", "b"), pod("y-executor-1", "b"), pod("y-executor-2", "", noNode)},
			want: []string{"y-driver (", "y-executor-2 (resource version ): found no node, but its driver y-driver runs"},
		},
		"the second starts after the first has ended and its executors are gone": {
			pods:    []*corev1.Pod{pod("x-driver", "a"), pod("x-executor-1", "a"), pod("x-executor-2", "a"), pod("x-executor-3", "b"), pod("x-driver", "a", succeeded), pod("y-driver", "b")},
			deleted: []*corev1.Pod{pod("x-executor-1", "a"), pod("x-executor-2", "a"), pod("x-executor-3", "b")},
		},
		"the second starts after the first driver has ended, while its executors still run": {
			pods: []*corev1.Pod{pod("x-driver", "a"), pod("x-executor-1", "a"), pod("x-executor-2", "a"), pod("x-executor-3", "b"), pod("x-driver", "a", succeeded), pod("y-driver", "b")},
			want: []string{"y-driver (resource version ): bound to b while 3 executors of running gangs are missing and only 2 more fit"},
		},
		"a driver that needs one executor has it, and another finds no node": {
			pods: []*corev1.Pod{pod("x-driver", "a", needing("1")), pod("x-executor-1", "a"), pod("x-executor-2", "", noNode)},
		},
		"a driver that needs one executor does not get it": {
			pods: []*corev1.Pod{pod("x-driver", "a", needing("1")), pod("x-executor-1", "", noNode)},
			want: []string{"x-executor-1 (resource version ): found no node, but its driver x-driver runs"},
		},
		"a second driver starts in the room of more executors than the first one needs": {
			pods: []*corev1.Pod{
				pod("x-driver", "a", needing("1")), pod("x-executor-1", "a"), pod("x-executor-2", "a"), pod("x-executor-3", "b"), pod("y-driver", "b", needing("1")),
			},
		},
		"an executor of an ended driver finds no node": {
			pods: []*corev1.Pod{pod("x-driver", "a"), pod("x-driver", "a", succeeded), pod("x-executor-1", "", noNode)},
		},
		"somebody else's pods take the room": {
			pods: []*corev1.Pod{pod("p-plain-1", "a"), pod("p-plain-2", "a"), pod("p-plain-3", "a"), pod("x-driver", "b")},
			want: []string{"x-driver (resource version ): bound to b while 3 executors of running gangs are missing and only 2 more fit"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			record := newTestRecord()
			for i, p := range test.pods {
				if i == len(test.pods)-1 {
					for _, d := range test.deleted {
						record.Deleted(d)
					}
				}
				record.Pod(p)
			}
			var got []string
			for i, violation := range record.Violations() {
				got = append(got, violation.What)
				if i < len(test.want) && strings.HasPrefix(violation.What, test.want[i]) {
					got[i] = test.want[i]
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
		})
	}
}
