package plugin

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	schedulingv1alpha1 "sigs.k8s.io/scheduler-plugins/apis/scheduling/v1alpha1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/resource"
)

// groupSearchPeriod is how often a cluster without PodGroups is asked whether it has them now: their
// CustomResourceDefinition belongs to the scheduler-plugins project and may be installed at any time, or never.
const groupSearchPeriod = 30 * time.Second

var podGroupsResource = schedulingv1alpha1.SchemeGroupVersion.WithResource("podgroups")

// podGroups follows the PodGroups of the cluster, if it has any.
type podGroups struct {
	plugin    *Plugin
	client    dynamic.Interface
	discovery discovery.DiscoveryInterface
	status    *groupStatus
	// told is set when the ledger knows all that existed at the start, or that the cluster has none.
	told atomic.Bool
}

// newPodGroups returns nil where there is no API server to ask, as in tests of one cycle.
func newPodGroups(p *Plugin, config *rest.Config) (*podGroups, error) {
	if config == nil {
		return nil, nil
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	found, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	g := &podGroups{plugin: p, client: client, discovery: found}
	g.status = newGroupStatus(g)
	return g, nil
}

// run works until the context ends.
func (g *podGroups) run(ctx context.Context) {
	// The queue of statuses has a goroutine of its own, in a cluster without the kind as well.
	defer g.status.queue.ShutDown()
	exist := false
	_ = wait.PollUntilContextCancel(ctx, groupSearchPeriod, true, func(ctx context.Context) (bool, error) {
		var err error
		if exist, err = g.exist(ctx); err != nil {
			g.plugin.logger.Error(err, "It is not known whether the cluster has PodGroups")
			return false, nil
		}
		if !exist {
			g.told.Store(true)
		}
		return exist, nil
	})
	if exist {
		g.follow(ctx)
	}
}

// exist tells whether the API server serves PodGroups.
func (g *podGroups) exist(context.Context) (bool, error) {
	list, err := g.discovery.ServerResourcesForGroupVersion(podGroupsResource.GroupVersion().String())
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, served := range list.APIResources {
		if served.Name == podGroupsResource.Resource {
			return true, nil
		}
	}
	return false, nil
}

// follow tells the ledger of every PodGroup until the context ends.
func (g *podGroups) follow(ctx context.Context) {
	factory := dynamicinformer.NewDynamicSharedInformerFactory(g.client, 0)
	informer := factory.ForResource(podGroupsResource)
	seen := func(object any) {
		if group, ok := object.(*unstructured.Unstructured); ok {
			g.plugin.tell(ledger.GroupSeen{Group: groupOf(group)})
			g.status.add(group.GetNamespace(), group.GetName())
		}
	}
	handler, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    seen,
		UpdateFunc: func(_, object any) { seen(object) },
		DeleteFunc: func(object any) {
			if group, ok := last[*unstructured.Unstructured](object); ok {
				g.plugin.tell(ledger.GroupGone{Key: groupKey(group.GetNamespace(), group.GetName())})
			}
		},
	})
	if err != nil {
		g.plugin.logger.Error(err, "PodGroups cannot be followed")
		return
	}
	g.status.lister = informer.Lister()
	factory.Start(ctx.Done())
	if cache.WaitForCacheSync(ctx.Done(), handler.HasSynced) {
		g.told.Store(true)
		g.plugin.logger.V(2).Info("Ledger knows the PodGroups")
	}
	g.status.run(ctx)
	factory.Shutdown()
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
	var written schedulingv1alpha1.PodGroup
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &written); err != nil {
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
