package sim

import (
	"fmt"
	"maps"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// object is what the API server stores. Stored objects are never modified: every change makes a new one, because the
// informers of all replicas share them.
type object interface {
	metav1.Object
	runtime.Object
}

// api is the API server: the truth.
type api struct {
	world   *World
	version int64
	// pods by namespace/name, nodes by name, maps by namespace/name.
	pods  *table[*v1.Pod]
	nodes *table[*v1.Node]
	maps  *table[*v1.ConfigMap]
	// serial numbers everything that was ever created.
	serial int
}

func newAPI(w *World) *api {
	return &api{world: w, pods: newTable[*v1.Pod](), nodes: newTable[*v1.Node](), maps: newTable[*v1.ConfigMap]()}
}

func keyOf(o metav1.Object) string {
	if o.GetNamespace() == "" {
		return o.GetName()
	}
	return o.GetNamespace() + "/" + o.GetName()
}

func (a *api) nextVersion() string {
	a.version++
	return strconv.FormatInt(a.version, 10)
}

func (a *api) nextUID(what string) types.UID {
	a.serial++
	return types.UID(fmt.Sprintf("%s-%04d", what, a.serial))
}

// ended tells whether a pod has reached its end; the scheduler's informers do not show such pods.
func ended(pod *v1.Pod) bool {
	return pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed
}

// createPod stores a new pod; the caller has filled in everything but what the API server fills in.
func (a *api) createPod(pod *v1.Pod) *v1.Pod {
	key := keyOf(pod)
	if _, taken := a.pods.get(key); taken {
		panic("sim: pod " + key + " exists already")
	}
	pod.UID = a.nextUID("pod")
	pod.ResourceVersion = a.nextVersion()
	pod.CreationTimestamp = metav1.Now().Rfc3339Copy()
	pod.Generation = 1
	if pod.Status.Phase == "" {
		pod.Status.Phase = v1.PodPending
	}
	a.pods.put(key, pod)
	a.world.trace.add("api: pod %s created (%s)", key, pod.UID)
	a.publish(podKind, watch.Added, pod)
	return pod
}

// pod finds a pod by its UID under its name; nil when it is not there any more.
func (a *api) pod(key string, uid types.UID) *v1.Pod {
	pod, found := a.pods.get(key)
	if !found || pod.UID != uid {
		return nil
	}
	return pod
}

// changePod stores another state of a pod. change is given a copy whose maps and slices are still shared.
func (a *api) changePod(pod *v1.Pod, change func(*v1.Pod)) *v1.Pod {
	changed := *pod
	change(&changed)
	changed.ResourceVersion = a.nextVersion()
	a.pods.put(keyOf(pod), &changed)
	if changed.Spec.NodeName != pod.Spec.NodeName || changed.DeletionTimestamp != pod.DeletionTimestamp {
		a.world.moved = time.Now()
	}
	switch {
	case ended(pod):
	case ended(&changed):
		last := *pod
		last.ResourceVersion = changed.ResourceVersion
		a.publish(podKind, watch.Deleted, &last)
	default:
		a.publish(podKind, watch.Modified, &changed)
	}
	return &changed
}

// removePod deletes a pod for good.
func (a *api) removePod(pod *v1.Pod) {
	a.pods.remove(keyOf(pod))
	a.world.trace.add("api: pod %s removed (%s)", keyOf(pod), pod.UID)
	if !ended(pod) {
		last := *pod
		last.ResourceVersion = a.nextVersion()
		a.publish(podKind, watch.Deleted, &last)
	}
	a.world.podRemoved(pod)
}

func (a *api) putNode(node *v1.Node) {
	before, known := a.nodes.get(node.Name)
	node.ResourceVersion = a.nextVersion()
	a.nodes.put(node.Name, node)
	if known && before.UID == node.UID {
		a.publish(nodeKind, watch.Modified, node)
	} else {
		a.publish(nodeKind, watch.Added, node)
	}
}

func (a *api) removeNode(node *v1.Node) {
	a.nodes.remove(node.Name)
	last := *node
	last.ResourceVersion = a.nextVersion()
	a.publish(nodeKind, watch.Deleted, &last)
}

func (a *api) publish(kind kind, what watch.EventType, o object) {
	if what != watch.Modified {
		a.world.moved = time.Now()
	}
	for _, r := range a.world.replicas {
		r.informer(kind).receive(watchEvent{what, o})
	}
}

// list is what an informer gets when it lists: what its watch would show.
func (a *api) list(kind kind) []object {
	var objects []object
	if kind == nodeKind {
		for _, node := range a.nodes.all() {
			objects = append(objects, node)
		}
		return objects
	}
	for _, pod := range a.pods.all() {
		if !ended(pod) {
			objects = append(objects, pod)
		}
	}
	return objects
}

func (a *api) lacksMap(key string) bool {
	_, found := a.maps.get(key)
	return !found
}

func notFound(resource, name string) error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: resource}, name)
}

func conflict(resource, name, why string) error {
	return apierrors.NewConflict(schema.GroupResource{Resource: resource}, name, fmt.Errorf("%s", why))
}

// bind is the subresource by which a scheduler gives a pod its node and whatever annotations come with it. by says who asks.
func (a *api) bind(key string, uid types.UID, node string, annotations map[string]string, by string) error {
	pod, found := a.pods.get(key)
	switch {
	case !found:
		return notFound("pods", key)
	case pod.UID != uid:
		return conflict("pods/binding", key, "the UID in the precondition is another one")
	case pod.DeletionTimestamp != nil:
		return conflict("pods/binding", key, "the pod is being deleted")
	case pod.Spec.NodeName != "":
		return conflict("pods/binding", key, "the pod is assigned to node "+pod.Spec.NodeName+" already")
	}
	a.world.daemon.binds(a.world, pod)
	bound := a.changePod(pod, func(pod *v1.Pod) {
		pod.Spec.NodeName = node
		pod.Status.NominatedNodeName = ""
		pod.Status.Conditions = withCondition(pod.Status.Conditions, v1.PodCondition{Type: v1.PodScheduled, Status: v1.ConditionTrue, LastTransitionTime: metav1.Now().Rfc3339Copy()})
		if len(annotations) > 0 {
			merged := maps.Clone(pod.Annotations)
			if merged == nil {
				merged = map[string]string{}
			}
			maps.Copy(merged, annotations)
			pod.Annotations = merged
		}
	})
	if size := annotationBytes(bound.Annotations); size > maxAnnotations {
		a.world.fail("annotations", "pod %s was bound with %d bytes of annotations: nobody can update it any more", key, size)
	}
	a.world.trace.add("api: pod %s bound to %s by %s", key, node, by)
	a.world.podBound(bound, by)
	return nil
}
