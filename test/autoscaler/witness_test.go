//go:build autoscaler

package autoscaler

import (
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// witness remembers every version of the condition PodScheduled of every pod.
type witness struct {
	mu   sync.Mutex
	said map[string][]string // name of a pod -> reasons with messages, in order, each once in a row
}

func watch(t *testing.T, client kubernetes.Interface) *witness {
	t.Helper()
	w := &witness{said: map[string][]string{}}
	factory := informers.NewSharedInformerFactory(client, 0)
	see := func(object any) {
		pod, ok := object.(*v1.Pod)
		if !ok {
			return
		}
		for _, condition := range pod.Status.Conditions {
			if condition.Type == v1.PodScheduled && condition.Status == v1.ConditionFalse {
				w.mu.Lock()
				said := w.said[pod.Name]
				if text := condition.Reason + "/" + condition.Message; len(said) == 0 || said[len(said)-1] != text {
					w.said[pod.Name] = append(said, text)
				}
				w.mu.Unlock()
			}
		}
	}
	_, err := factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: see, UpdateFunc: func(_, after any) { see(after) }})
	require.NoError(t, err)
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
	t.Cleanup(func() {
		if t.Failed() {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, pod := range slices.Sorted(maps.Keys(w.said)) {
				t.Logf("%s said %q", pod, w.said[pod])
			}
		}
	})
	return w
}

// of is what a pod has said so far.
func (w *witness) of(pod string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.said[pod])
}
