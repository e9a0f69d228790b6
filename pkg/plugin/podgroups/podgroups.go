// Package podgroups is the PodGroups of the scheduler-plugins project: what they say for the ledger, and their status.
package podgroups

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	schedulingv1alpha1 "sigs.k8s.io/scheduler-plugins/apis/scheduling/v1alpha1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/plugin/crd"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

// longestTimeout bounds scheduleTimeoutSeconds: as long as the pods of a group wait for the last of them, the others hold room that
// nobody uses.
const longestTimeout = 5 * time.Minute

// Resource is what is followed.
var Resource = schedulingv1alpha1.SchemeGroupVersion.WithResource("podgroups")

// PodGroups follows the PodGroups of the cluster, if it has any: their CustomResourceDefinition belongs to the
// scheduler-plugins project.
type PodGroups struct {
	objects *crd.OptionalResource
	tell    func(ledger.Event)
	status  *status
}

// New makes it. tell applies an event of the ledger.
func New(objects *crd.OptionalResource, client kubernetes.Interface, clock clock.WithTicker, logger klog.Logger, tell func(ledger.Event)) *PodGroups {
	return &PodGroups{objects: objects, tell: tell, status: newStatus(objects, client, clock, logger)}
}

// Known tells whether the ledger knows the PodGroups that existed at the start.
func (g *PodGroups) Known() bool { return g.objects.Known() }

// Run tells the ledger of every PodGroup and keeps their status up until the context ends.
func (g *PodGroups) Run(ctx context.Context) {
	go g.status.run(ctx)
	g.objects.Follow(ctx, func(_, group *unstructured.Unstructured) {
		g.tell(ledger.GroupSeen{Group: read(group)})
		g.status.add(group.GetNamespace(), group.GetName())
	}, func(group *unstructured.Unstructured) {
		g.tell(ledger.GroupGone{Key: Key(group.GetNamespace(), group.GetName())})
	})
}

// Changed asks for the status of a pod's PodGroup to be looked at. It does nothing for other pods, and on nil: where there is
// no API server to ask.
func (g *PodGroups) Changed(pod *v1.Pod) {
	if name := NameOf(pod); g != nil && name != "" {
		g.status.add(pod.Namespace, name)
	}
}

// Key is the key of the gang that a PodGroup declares. It is no application's: names of pods, labels and
// applications have no slash.
func Key(namespace, name string) gang.Key {
	return gang.Key{Namespace: namespace, Name: "podgroup/" + name}
}

// read reads a PodGroup. What cannot be understood becomes its Problem.
func read(object *unstructured.Unstructured) ledger.Group {
	group := ledger.Group{Key: Key(object.GetNamespace(), object.GetName())}
	problem := func(field string, value any, want string) ledger.Group {
		group.Problem = fmt.Sprintf("PodGroup %s: %s=%v: %s", klog.KObj(object), field, value, want)
		return group
	}
	written, err := crd.Decode[schedulingv1alpha1.PodGroup](object)
	if err != nil {
		group.Problem = fmt.Sprintf("PodGroup %s: %v", klog.KObj(object), err)
		return group
	}
	spec := &written.Spec
	if spec.MinMember < 1 || spec.MinMember > spark.MaxWorkers {
		return problem("spec.minMember", spec.MinMember, fmt.Sprintf("want 1 to %d", spark.MaxWorkers))
	}
	group.Minimum = int(spec.MinMember)
	if names := len(spec.MinResources); names > resource.MaxNames {
		return problem("spec.minResources", fmt.Sprintf("(%d names)", names), fmt.Sprintf("want at most %d", resource.MaxNames))
	}
	for _, name := range slices.Sorted(maps.Keys(spec.MinResources)) {
		if quantity := spec.MinResources[name]; quantity.Sign() < 0 {
			return problem(fmt.Sprintf("spec.minResources[%s]", name), quantity.String(), "want at least 0")
		}
	}
	group.Resources = resource.OfList(spec.MinResources)
	if seconds := spec.ScheduleTimeoutSeconds; seconds != nil {
		if *seconds < 0 {
			return problem("spec.scheduleTimeoutSeconds", *seconds, "want at least 0")
		}
		group.Timeout = min(time.Duration(*seconds)*time.Second, longestTimeout)
	}
	// Ended pods are known by the status alone: the scheduler's informer leaves them out.
	group.Succeeded = int(min(max(written.Status.Succeeded, 0), spark.MaxWorkers))
	group.Started = !written.Status.ScheduleStartTime.IsZero()
	return group
}

// NameOf is the PodGroup that a pod belongs to; empty means none.
func NameOf(pod metav1.Object) string { return pod.GetLabels()[schedulingv1alpha1.PodGroupLabel] }
