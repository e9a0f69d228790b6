package sim

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
)

// client is the clientset of a replica. Only what schedulers use is there; everything else panics.
type client struct {
	kubernetes.Interface
	replica *replica
}

// CoreV1 is the only group that is simulated.
func (c client) CoreV1() corev1.CoreV1Interface { return coreClient{replica: c.replica} }

type coreClient struct {
	corev1.CoreV1Interface
	replica *replica
}

func (c coreClient) Pods(namespace string) corev1.PodInterface {
	return podClient{replica: c.replica, namespace: namespace}
}

func (c coreClient) ConfigMaps(namespace string) corev1.ConfigMapInterface {
	return mapClient{replica: c.replica, namespace: namespace}
}

type podClient struct {
	corev1.PodInterface
	replica   *replica
	namespace string
}

// Patch is known for the pod itself and for its status.
func (c podClient) Patch(_ context.Context, name string, _ types.PatchType, data []byte, _ metav1.PatchOptions, subresources ...string) (*v1.Pod, error) {
	kind := callPatchPod
	if len(subresources) > 0 {
		kind = callPatchStatus
	}
	key := c.namespace + "/" + name
	w := c.replica.world
	return nil, w.desk.ask(&call{replica: c.replica, kind: kind, key: key, serve: func() error {
		c.replica.checkWords(c.namespace, string(data))
		before, _ := w.api.pods.get(key)
		err := w.api.patch(key, data)
		c.replica.checkBound(key, before)
		return err
	}})
}

// Get reads a pod.
func (c podClient) Get(_ context.Context, name string, _ metav1.GetOptions) (*v1.Pod, error) {
	key := c.namespace + "/" + name
	w := c.replica.world
	var found *v1.Pod
	err := w.desk.ask(&call{replica: c.replica, kind: callGetPod, key: key, serve: func() error {
		pod, there := w.api.pods.get(key)
		if !there {
			return notFound("pods", key)
		}
		found = pod
		return nil
	}})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// Bind gives a pod its node.
func (c podClient) Bind(_ context.Context, binding *v1.Binding, _ metav1.CreateOptions) error {
	key := c.namespace + "/" + binding.Name
	w := c.replica.world
	return w.desk.ask(&call{replica: c.replica, kind: callBind, key: key, serve: func() error {
		for _, text := range binding.Annotations {
			c.replica.checkWords(c.namespace, text)
		}
		if pod, found := w.api.pods.get(key); found && binding.ResourceVersion != "" && binding.ResourceVersion != pod.ResourceVersion {
			return conflict("pods/binding", key, "the ResourceVersion in the precondition is another one")
		}
		return w.api.bind(key, binding.UID, binding.Target.Name, binding.Annotations, c.replica.name)
	}})
}

// EvictV1 takes a pod back; no PodDisruptionBudget is there to object.
func (c podClient) EvictV1(ctx context.Context, eviction *policyv1.Eviction) error {
	return c.Delete(ctx, eviction.Name, *eviction.DeleteOptions)
}

// Delete deletes a pod of which the caller knows the UID.
func (c podClient) Delete(_ context.Context, name string, options metav1.DeleteOptions) error {
	key := c.namespace + "/" + name
	w := c.replica.world
	deletion := &call{replica: c.replica, kind: callDeletePod, key: key}
	deletion.serve = func() error {
		pod, found := w.api.pods.get(key)
		switch {
		case !found:
			return notFound("pods", key)
		case pod.UID != *options.Preconditions.UID:
			return conflict("pods", key, "the UID in the precondition is another one")
		}
		w.evicted(c.replica, pod, deletion.asked)
		w.checkGrace(c.replica, pod, options.GracePeriodSeconds)
		w.deletePod(pod)
		return nil
	}
	return w.desk.ask(deletion)
}

type mapClient struct {
	corev1.ConfigMapInterface
	replica   *replica
	namespace string
}

// Get reads a ConfigMap.
func (c mapClient) Get(_ context.Context, name string, _ metav1.GetOptions) (*v1.ConfigMap, error) {
	key := c.namespace + "/" + name
	w := c.replica.world
	var found *v1.ConfigMap
	err := w.desk.ask(&call{replica: c.replica, kind: callGetConfigMap, key: key, serve: func() error {
		configMap, there := w.api.maps.get(key)
		if !there {
			return notFound("configmaps", key)
		}
		found = configMap
		return nil
	}})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// recorder takes what would become Kubernetes events.
type recorder struct{ replica *replica }

var _ events.EventRecorderLogger = recorder{}

// Eventf records an event.
func (r recorder) Eventf(regarding runtime.Object, _ runtime.Object, kind, reason, _, format string, args ...any) {
	pod := regarding.(*v1.Pod)
	said := fmt.Sprintf(format, args...)
	r.replica.world.desk.note(note{r.replica, pod, reason, said, fmt.Sprintf("%s %s %s: %s", keyOf(pod), kind, reason, said)})
}

// WithLogger changes nothing: events are not logged.
func (r recorder) WithLogger(klog.Logger) events.EventRecorderLogger { return r }
