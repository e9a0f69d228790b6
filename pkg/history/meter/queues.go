package meter

import (
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

// queues is which queue a namespace belongs to, by the Queues of the cluster and the labels of its namespaces.
type queues struct {
	objects map[string]*v1alpha1.Queue   // name -> Queue
	labels  map[string]map[string]string // namespace -> labels
	stale   bool                         // something has changed since of was made
	of      map[string]string            // namespace -> queue
}

func newQueues() queues {
	return queues{objects: map[string]*v1alpha1.Queue{}, labels: map[string]map[string]string{}}
}

// see reads a Queue. One that cannot be read counts as if it were not there, as it does for the scheduler.
func (q *queues) see(object *unstructured.Unstructured) error {
	q.stale = true
	queue := &v1alpha1.Queue{}
	err := resource.Check[v1alpha1.Queue](object.Object)
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, queue)
	}
	if err != nil {
		delete(q.objects, object.GetName())
		return err
	}
	q.objects[queue.Name] = queue
	return nil
}

func (q *queues) lose(name string) {
	delete(q.objects, name)
	q.stale = true
}

// label notes the labels of a namespace; nil means that it has gone.
func (q *queues) label(namespace string, labels map[string]string) {
	before, known := q.labels[namespace]
	switch {
	case labels == nil:
		delete(q.labels, namespace)
	case known && maps.Equal(before, labels):
		return
	default:
		q.labels[namespace] = labels
	}
	q.stale = true
}

// read makes the answers anew if something has changed.
func (q *queues) read() {
	if !q.stale {
		return
	}
	assigned := map[string]string{}
	if len(q.objects) > 0 {
		objects := make([]*v1alpha1.Queue, 0, len(q.objects))
		for _, queue := range q.objects {
			objects = append(objects, queue)
		}
		assigned, _ = quota.Assign(objects, q.labels)
		for namespace, name := range assigned {
			if queue := q.objects[name]; queue.Spec.PerNamespace != nil {
				assigned[namespace] = quota.OfNamespace(queue, namespace).Name
			}
		}
	}
	q.of, q.stale = assigned, false
}
