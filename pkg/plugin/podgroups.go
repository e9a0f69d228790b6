package plugin

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/klog/v2"
	schedulingv1alpha1 "sigs.k8s.io/scheduler-plugins/apis/scheduling/v1alpha1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/resource"
)

var podGroupsResource = schedulingv1alpha1.SchemeGroupVersion.WithResource("podgroups")

// podGroups follows the PodGroups of the cluster, if it has any: their CustomResourceDefinition belongs to the
// scheduler-plugins project.
type podGroups struct {
	*kind
	plugin *Plugin
	status *groupStatus
}

func newPodGroups(p *Plugin, kind *kind) *podGroups {
	g := &podGroups{kind: kind, plugin: p}
	g.status = newGroupStatus(g)
	return g
}

// run tells the ledger of every PodGroup and keeps their status up until the context ends.
func (g *podGroups) run(ctx context.Context) {
	go g.status.run(ctx)
	g.follow(ctx, func(_, group *unstructured.Unstructured) {
		g.plugin.tell(ledger.GroupSeen{Group: groupOf(group)})
		g.status.add(group.GetNamespace(), group.GetName())
	}, func(group *unstructured.Unstructured) {
		g.plugin.tell(ledger.GroupGone{Key: groupKey(group.GetNamespace(), group.GetName())})
	})
}

// groupKey is the key of the gang that a PodGroup declares. It is no application's: names of pods, labels and
// applications have no slash.
func groupKey(namespace, name string) gang.Key {
	return gang.Key{Namespace: namespace, Name: "podgroup/" + name}
}

// groupOf reads a PodGroup. What cannot be understood becomes its Problem.
func groupOf(object *unstructured.Unstructured) ledger.Group {
	group := ledger.Group{Key: groupKey(object.GetNamespace(), object.GetName())}
	problem := func(field string, value any, want string) ledger.Group {
		group.Problem = fmt.Sprintf("PodGroup %s: %s=%v: %s", klog.KObj(object), field, value, want)
		return group
	}
	written, err := decodeObject[schedulingv1alpha1.PodGroup](object)
	if err != nil {
		return problem("spec", object.Object["spec"], err.Error())
	}
	spec := &written.Spec
	if spec.MinMember < 1 {
		return problem("spec.minMember", spec.MinMember, "want at least 1")
	}
	group.Minimum = int(spec.MinMember)
	for name, quantity := range spec.MinResources {
		if quantity.Sign() < 0 {
			return problem(fmt.Sprintf("spec.minResources[%s]", name), quantity.String(), "want at least 0")
		}
	}
	group.Resources = resource.OfList(spec.MinResources)
	if seconds := spec.ScheduleTimeoutSeconds; seconds != nil {
		if *seconds < 0 {
			return problem("spec.scheduleTimeoutSeconds", *seconds, "want at least 0")
		}
		group.Timeout = time.Duration(*seconds) * time.Second
	}
	return group
}

// groupNameOf is the PodGroup that a pod belongs to; empty means none.
func groupNameOf(pod metav1.Object) string { return pod.GetLabels()[schedulingv1alpha1.PodGroupLabel] }
