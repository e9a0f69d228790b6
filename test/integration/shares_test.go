package integration_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	toolswatch "k8s.io/client-go/tools/watch"

	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/test/sparksim"
	"retinue.dev/retinue/test/sparksim/chronicle"
)

// shareQueue is a Queue of TestTwentyQueuesShareTheCluster; amounts are CPUs and zero means that there is none. A leaf has
// the namespace of its name.
type shareQueue struct {
	name, parent      string
	guaranteed, limit int64
	weight            int64
	spec              string // more of it, in YAML's short form
}

// Of 320 CPUs 256 are guaranteed.
var shareQueues = []shareQueue{
	{name: "data", guaranteed: 160, limit: 256, weight: 1},
	{name: "etl", parent: "data", guaranteed: 80, weight: 1},
	{name: "etl-a", parent: "etl", guaranteed: 40, limit: 128, weight: 1},
	{name: "etl-b", parent: "etl", guaranteed: 40, weight: 1},
	{name: "adhoc", parent: "data", guaranteed: 40, limit: 80, weight: 1},
	{name: "adhoc-x", parent: "adhoc", weight: 1},
	{name: "adhoc-y", parent: "adhoc", weight: 3, spec: ", order: Fair"},
	{name: "ml", parent: "data", guaranteed: 40, weight: 1},
	{name: "ml-a", parent: "ml", guaranteed: 20, weight: 1},
	{name: "ml-b", parent: "ml", guaranteed: 20, weight: 1},
	{name: "web", guaranteed: 96, weight: 1},
	{name: "shop", parent: "web", guaranteed: 64, weight: 1},
	{name: "shop-1", parent: "shop", guaranteed: 32, weight: 1},
	{name: "shop-2", parent: "shop", guaranteed: 32, weight: 1},
	{name: "search", parent: "web", guaranteed: 32, weight: 1},
	{name: "search-1", parent: "search", guaranteed: 16, weight: 1},
	{name: "search-2", parent: "search", guaranteed: 16, weight: 1},
	{name: "lab", limit: 128, weight: 1},
	{name: "lab-1", parent: "lab", weight: 1},
	{name: "lab-2", parent: "lab", weight: 2},
}

func (q shareQueue) manifest() string {
	amount := func(field string, cpu int64) string {
		if cpu == 0 {
			return ""
		}
		return fmt.Sprintf(", %s: {cpu: %d}", field, cpu)
	}
	parent := ""
	if q.parent != "" {
		parent = ", parent: " + q.parent
	}
	return fmt.Sprintf(`
apiVersion: retinue.dev/v1alpha1
kind: Queue
metadata: {name: %s}
spec: {namespaces: [%s], weight: %d, reclaim: {enabled: %t, after: 1s, grace: 1s, deadZone: 0}%s%s%s%s}
`, q.name, q.name, q.weight, q.guaranteed > 0, parent, amount("guaranteed", q.guaranteed), amount("limit", q.limit), q.spec)
}

// shareSpecs are the same queues for the arithmetic.
func shareSpecs() []quota.Spec {
	var specs []quota.Spec
	amounts := func(cpu int64) quota.Amounts {
		if cpu == 0 {
			return nil
		}
		return quota.Amounts{{Name: v1.ResourceCPU, Value: cpu * 1000}}
	}
	for _, q := range shareQueues {
		specs = append(specs, quota.Spec{Name: q.name, Parent: q.parent, Guaranteed: amounts(q.guaranteed), Limit: amounts(q.limit), Weight: &q.weight})
	}
	return specs
}

// leaves are the queues without others below them.
func leaves() []string {
	inner := map[string]bool{}
	for _, q := range shareQueues {
		inner[q.parent] = true
	}
	var leaves []string
	for _, q := range shareQueues {
		if !inner[q.name] {
			leaves = append(leaves, q.name)
		}
	}
	return leaves
}

// ways are every queue and all above it: queue -> names.
func ways() map[string][]string {
	ways := map[string][]string{}
	for _, q := range shareQueues { // parents come first
		ways[q.name] = append([]string{q.name}, ways[q.parent]...)
	}
	return ways
}

// accountant adds up what every queue holds, at every event of a watch on all pods: CPUs of pods that have a node and have not
// ended.
type accountant struct {
	ways   map[string][]string
	limits map[string]int64 // queue -> CPUs

	mu       sync.Mutex // guards everything below
	pods     map[types.UID]held
	used     map[string]int64   // queue -> CPUs
	area     map[string]float64 // queue -> CPUs × seconds since reset
	since    time.Time          // of the last change of area
	began    time.Time          // of area
	exceeded []string
	evicted  map[string]string // pod that was taken back -> its role
	// wrong are drivers that were taken back while executors of theirs were not.
	wrong   []string
	changed chan struct{} // closed at the next event
}

type held struct {
	queue string
	cpu   int64
}

func newAccountant() *accountant {
	a := &accountant{ways: ways(), limits: map[string]int64{}, pods: map[types.UID]held{}, used: map[string]int64{}, area: map[string]float64{},
		since: time.Now(), began: time.Now(), evicted: map[string]string{}, changed: make(chan struct{})}
	for _, q := range shareQueues {
		if q.limit > 0 {
			a.limits[q.name] = q.limit
		}
	}
	return a
}

// watch follows all pods until the context ends. A watch of which the API server has forgotten the beginning is begun anew with a list.
func (a *accountant) watch(ctx context.Context, t *testing.T, client kubernetes.Interface) *sync.WaitGroup {
	source := &cache.ListWatch{WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
		return client.CoreV1().Pods("").Watch(ctx, options)
	}}
	begin := func() (*toolswatch.RetryWatcher, error) {
		list, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		a.forget()
		for i := range list.Items {
			a.see(&list.Items[i], false)
		}
		return toolswatch.NewRetryWatcherWithContext(ctx, list.ResourceVersion, source)
	}
	events, err := begin()
	require.NoError(t, err)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			for event := range events.ResultChan() {
				if pod, is := event.Object.(*v1.Pod); is {
					a.see(pod, event.Type == watch.Deleted)
				}
			}
			if events, err = begin(); err != nil {
				if ctx.Err() == nil {
					t.Errorf("what the queues hold is not known any more: %v", err)
				}
				return
			}
		}
	})
	return &running
}

// forget lets everything be seen anew.
func (a *accountant) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.advance()
	clear(a.pods)
	clear(a.used)
}

// advance adds what has been held since the last change to the averages.
func (a *accountant) advance() {
	now := time.Now()
	for queue, cpu := range a.used {
		a.area[queue] += float64(cpu) * now.Sub(a.since).Seconds()
	}
	a.since = now
}

func (a *accountant) see(pod *v1.Pod, deleted bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.advance()
	for _, condition := range pod.Status.Conditions {
		if condition.Type == v1.DisruptionTarget && a.evicted[pod.Name] == "" {
			a.evicted[pod.Name] = pod.Labels[spark.LabelRole]
		}
	}
	before := a.pods[pod.UID]
	delete(a.pods, pod.UID)
	is := held{}
	if !deleted && pod.Spec.NodeName != "" && pod.Status.Phase != v1.PodSucceeded && pod.Status.Phase != v1.PodFailed {
		is = held{pod.Namespace, resource.OfPod(pod).CPU / 1000}
		a.pods[pod.UID] = is
	}
	for _, queue := range a.ways[before.queue] {
		a.used[queue] -= before.cpu
	}
	for _, queue := range a.ways[is.queue] {
		a.used[queue] += is.cpu
		if limit := a.limits[queue]; limit > 0 && a.used[queue] > limit && is != before {
			a.exceeded = append(a.exceeded, fmt.Sprintf("%s holds %d of %d with %s/%s", queue, a.used[queue], limit, pod.Namespace, pod.Name))
		}
	}
	close(a.changed)
	a.changed = make(chan struct{})
}

// await waits until what the queues hold satisfies the condition, and tells how long that took.
func (a *accountant) await(t *testing.T, what string, condition func(used map[string]int64) bool) time.Duration {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		a.mu.Lock()
		used, changed := maps.Clone(a.used), a.changed
		a.mu.Unlock()
		if condition(used) {
			return time.Since(began)
		}
		select {
		case <-ctx.Done():
			require.Fail(t, what+": not so", "queues hold %v", used)
		case <-changed:
		}
	}
}

// reset begins a new average.
func (a *accountant) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.began, a.since = time.Now(), time.Now()
	clear(a.area)
}

// average is what the queues have held since reset, in CPUs.
func (a *accountant) average() map[string]float64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	average := map[string]float64{}
	for queue, area := range a.area {
		average[queue] = area / a.since.Sub(a.began).Seconds()
	}
	return average
}

// TestTwentyQueuesShareTheCluster: 500 applications of mixed sizes in a tree of three levels. First a few queues fill the
// cluster with what is not theirs; then all want something, and those with a guarantee get it; then applications come and go,
// and everybody holds over time what the arithmetic says.
func TestTwentyQueuesShareTheCluster(t *testing.T) {
	const (
		nodes, cpu   = 20, 16
		applications = 500
		borrowers    = 120 // of these applications
		largest      = 9   // CPUs of an application
		// tolerance of a queue's average share, in CPUs: 5 % of the cluster and a large application.
		tolerance = 0.05*nodes*cpu + largest
	)
	s := newStage(t, nodes, cpu)
	s.simulate()
	var manifests strings.Builder
	for _, q := range shareQueues {
		manifests.WriteString("---" + q.manifest())
	}
	for _, leaf := range leaves() {
		s.namespace(leaf)
	}
	s.apply(manifests.String())
	ctx, stop := context.WithCancel(context.Background())
	books := newAccountant()
	watching := books.watch(ctx, t, s.client)
	defer func() {
		stop()
		watching.Wait()
	}()

	chance := rand.New(rand.NewPCG(20261121, 5))
	application := func(queue string, i int) sparksim.Application {
		a := sized(fmt.Sprintf("%s-%03d", queue, i), 1, 1+chance.IntN(4), 1+chance.IntN(2))
		a.Namespace = queue
		a.Properties["spark.kubernetes.allocation.batch.delay"] = "100ms"
		a.Properties["spark.scheduler.minRegisteredResourcesRatio"] = "1.0"
		a.Properties["spark.scheduler.maxRegisteredResourcesWaitingTime"] = "10m"
		return a
	}
	var first []sparksim.Application
	for i := range borrowers {
		queue := []string{"lab-1", "lab-2", "adhoc-x", "etl-a", "etl-a"}[i%5]
		a := application(queue, i)
		if i%10 == 2 { // the executors beyond the first are expendable
			a.Properties["spark.dynamicAllocation.enabled"] = "true"
			a.Properties["spark.dynamicAllocation.initialExecutors"] = "1"
			a.Properties["spark.dynamicAllocation.maxExecutors"] = "6"
			a.Properties["spark.kubernetes.driver.annotation."+sparksim.AnnotationExecutors] = "6"
		}
		first = append(first, a)
	}
	s.submitAll(first)
	fullAfter := books.await(t, "others' guarantees are borrowed", func(used map[string]int64) bool {
		return used["data"]+used["lab"] > nodes*cpu-largest
	})
	t.Logf("borrowed up to limits after %.1f s", fullAfter.Seconds())

	// What everybody would hold who wants everything; and so that nobody has nothing to start long before the others, as many
	// applications for each.
	tree := quota.New(shareSpecs())
	tree.SetCapacity(resource.Vector{CPU: nodes * cpu * 1000})
	endless := map[string]resource.Vector{}
	for _, leaf := range leaves() {
		endless[leaf] = resource.Vector{CPU: nodes * cpu * 1000}
	}
	ideal := tree.Shares(endless)
	var rest []sparksim.Application
	for i := range applications - borrowers {
		queue, left := "", int64(chance.IntN(nodes*cpu*1000))
		for _, leaf := range leaves() {
			if queue, left = leaf, left-ideal[leaf].CPU; left < 0 {
				break
			}
		}
		a := application(queue, borrowers+i)
		a.Properties["spark.kubernetes.driver.annotation."+sparksim.AnnotationRunTime] = fmt.Sprintf("%dms", 5000+chance.IntN(3000))
		rest = append(rest, a)
	}
	began := time.Now()
	var submitting sync.WaitGroup
	submitting.Go(func() { s.submitAll(rest) })
	reached := map[string]time.Duration{}
	books.await(t, "guarantees are reached", func(used map[string]int64) bool {
		for _, q := range shareQueues {
			if _, before := reached[q.name]; !before && used[q.name] > q.guaranteed-largest {
				reached[q.name] = time.Since(began)
			}
		}
		return len(reached) == len(shareQueues)
	})
	submitting.Wait()
	t.Logf("guarantees reached, since the first of %d applications was submitted: the last after %.1f s", len(rest),
		slices.Max(slices.Collect(maps.Values(reached))).Seconds())

	for _, a := range s.chronicle.Applications() {
		if a.Ended.IsZero() && slices.ContainsFunc(first, func(b sparksim.Application) bool { return b.Name == a.Name }) {
			s.annotateIfThere(a.Namespace, a.Driver, sparksim.AnnotationRunTime, "0s")
		}
	}
	waiting := func(all []chronicle.Application) map[string]int {
		waiting := map[string]int{}
		for _, a := range all {
			if a.Node == "" && a.Ended.IsZero() {
				waiting[a.Namespace]++
			}
		}
		return waiting
	}
	s.await("the borrowers have ended", func(all []chronicle.Application) bool {
		return !slices.ContainsFunc(all, func(a chronicle.Application) bool {
			return a.Ended.IsZero() && a.Node != "" && slices.ContainsFunc(first, func(b sparksim.Application) bool { return b.Name == a.Name })
		})
	})
	books.reset()
	measured := time.Now()
	s.await("a queue has nothing more to start", func(all []chronicle.Application) bool {
		return len(waiting(all)) < len(leaves())
	})
	average := books.average()
	total := 0.0
	for _, leaf := range leaves() {
		total += average[leaf]
	}
	worst := 0.0
	for _, q := range shareQueues {
		want := float64(ideal[q.name].CPU) / 1000 * total / (nodes * cpu)
		worst = max(worst, math.Abs(average[q.name]-want))
		t.Logf("%-10s held %6.1f on average, ideal %6.1f", q.name, average[q.name], want)
		if math.Abs(average[q.name]-want) > tolerance {
			t.Errorf("queue %s held %.1f CPUs on average, want %.1f ± %.0f", q.name, average[q.name], want, float64(tolerance))
		}
	}
	t.Logf("over %.1f s, %.0f of %d CPUs in use, no queue was further from its share than %.1f CPUs", time.Since(measured).Seconds(), total, nodes*cpu, worst)

	s.await("all have ended or were taken back", func(all []chronicle.Application) bool {
		return len(all) >= applications && !slices.ContainsFunc(all, func(a chronicle.Application) bool { return a.Ended.IsZero() || a.Running+a.Pending > 0 })
	})
	books.mu.Lock()
	defer books.mu.Unlock()
	require.Empty(t, books.exceeded, "limits")
	require.NotEmpty(t, books.evicted, "nothing was taken back")
	t.Logf("%d pods were taken back", len(books.evicted))
}
