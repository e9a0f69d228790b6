//go:build autoscaler

package autoscaler

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"retinue.dev/retinue/test/cluster"
)

// nodeHours measures node-hours, which takes a quarter of an hour and is compared by people; seed is which applications arrive.
var (
	nodeHours = flag.Bool("autoscaler.node-hours", false, "measure node-hours of three schedulers")
	seed      = flag.Uint64("autoscaler.seed", 1, "which applications arrive while node-hours are measured")
)

const (
	arrivals = 24
	interval = 8 * time.Second
)

// arrival is an application as it is submitted to every scheduler.
type arrival struct {
	executors, cpu int
	runs           time.Duration // with all executors
}

func drawArrivals() []arrival {
	random := rand.New(rand.NewPCG(*seed, 0))
	drawn := make([]arrival, arrivals)
	for i := range drawn {
		drawn[i] = arrival{executors: []int{2, 4, 8, 12}[random.IntN(4)], cpu: []int{2, 4}[random.IntN(2)], runs: time.Duration(20+random.IntN(70)) * time.Second}
	}
	return drawn
}

// TestNodeHours lets the same applications arrive at the same times with three schedulers, on nodes of 16 CPUs that Karpenter buys and takes away
// when they are empty for 30 seconds, and prints what was bought and what was used of it. It judges nothing but that all applications end well.
func TestNodeHours(t *testing.T) {
	if !*nodeHours {
		t.Skip("make node-hours runs it")
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "manifests", "setup", "scheduler-config.yaml"))
	require.NoError(t, err)
	require.Contains(t, string(text), "placement: Pack")
	require.Contains(t, string(text), "type: MostAllocated")
	spreads := filepath.Join(t.TempDir(), "scheduler-config.yaml")
	require.NoError(t, os.WriteFile(spreads, []byte(strings.NewReplacer("placement: Pack", "placement: Spread", "type: MostAllocated", "type: LeastAllocated").Replace(string(text))), 0o600))
	plain := []cluster.Component{cluster.Etcd, cluster.APIServer, cluster.ControllerManager, cluster.Kwok, cluster.DefaultScheduler}
	for _, scheduler := range []struct {
		name, schedulerName string
		config              cluster.Config
	}{
		{"kube-scheduler", "default-scheduler", cluster.Config{Components: plain}},
		{"Retinue with Pack", "retinue", cluster.Config{}},
		{"Retinue with Spread", "retinue", cluster.Config{SchedulerConfig: spreads}},
	} {
		t.Run(scheduler.name, func(t *testing.T) {
			e := startWith(t, 10_000, scheduler.config)
			e.kubectl("patch", "nodepool", "default", "--type=json", "-p", `[
				{"op": "add", "path": "/spec/template/spec/requirements/-", "value": {"key": "karpenter.kwok.sh/instance-cpu", "operator": "In", "values": ["16"]}},
				{"op": "add", "path": "/spec/disruption/budgets", "value": [{"nodes": "100%"}]}]`) // by default Karpenter takes away one in ten at a time
			e.simulate()
			named := "spark.kubernetes.scheduler.name=" + scheduler.schedulerName
			first := e.submit("first", 1, 1, named, runs(time.Second)) // until it runs the kinds of Karpenter are found, and there is a node
			e.awaitBound("the first", application(first), 2)
			m := measure(t, e.client)
			ticker := time.NewTicker(interval)
			defer ticker.Stop()
			for i, a := range drawArrivals() {
				e.submit(fmt.Sprintf("a%02d", i), a.executors, a.cpu, named, runs(a.runs))
				<-ticker.C
			}
			e.await("all have ended", func(context.Context) (bool, error) {
				for _, driver := range e.pods("spark-role=driver") {
					require.NotEqual(t, v1.PodFailed, driver.Status.Phase, driver.Name)
					if driver.Status.Phase != v1.PodSucceeded {
						return false, nil
					}
				}
				return true, nil
			})
			e.awaitNoNodes()
			m.print(t, scheduler.name)
		})
	}
}

func runs(d time.Duration) string {
	return "spark.kubernetes.driver.annotation.sparksim.retinue.dev/run-time=" + d.String()
}

// meter adds up what nodes there are and what pods hold of them, in seconds of one CPU.
type meter struct {
	began time.Time

	mu    sync.Mutex // guards everything below
	nodes map[string]span
	pods  map[string]span
	// whole is when the last executor of an application had its node: application -> time; only of those that its driver is of, which is in born.
	whole, born map[string]time.Time
}

// span is from when until when there was so much; until is zero while there is.
type span struct {
	cpu         float64
	from, until time.Time
}

// measure begins to.
func measure(t *testing.T, client kubernetes.Interface) *meter {
	t.Helper()
	m := &meter{began: time.Now(), nodes: map[string]span{}, pods: map[string]span{}, whole: map[string]time.Time{}, born: map[string]time.Time{}}
	factory := informers.NewSharedInformerFactory(client, 0)
	handle := func(informer cache.SharedIndexInformer, see func(any), gone func(any)) {
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: see, UpdateFunc: func(_, after any) { see(after) }, DeleteFunc: gone})
		require.NoError(t, err)
	}
	handle(factory.Core().V1().Nodes().Informer(), func(object any) {
		if node := object.(*v1.Node); node.Labels["karpenter.sh/nodepool"] != "" {
			m.begin(m.nodes, node.Name, float64(sizeOf(node)))
		}
	}, func(object any) { m.end(m.nodes, object) })
	handle(factory.Core().V1().Pods().Informer(), func(object any) {
		switch pod := object.(*v1.Pod); {
		case pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed:
			m.end(m.pods, pod)
		case pod.Spec.NodeName != "":
			m.bound(pod)
		default:
			m.submitted(pod)
		}
	}, func(object any) { m.end(m.pods, object) })
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
	return m
}

func (m *meter) begin(spans map[string]span, name string, cpu float64) (first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := spans[name]; known {
		return false
	}
	spans[name] = span{cpu: cpu, from: time.Now()}
	return true
}

func (m *meter) end(spans map[string]span, object any) {
	if tombstone, is := object.(cache.DeletedFinalStateUnknown); is {
		object = tombstone.Obj
	}
	name := object.(interface{ GetName() string }).GetName()
	m.mu.Lock()
	defer m.mu.Unlock()
	if known, is := spans[name]; is && known.until.IsZero() {
		known.until = time.Now()
		spans[name] = known
	}
}

func (m *meter) submitted(pod *v1.Pod) {
	if pod.Labels["spark-role"] == "driver" {
		m.mu.Lock()
		defer m.mu.Unlock()
		if app := pod.Labels["spark-app-selector"]; m.born[app].IsZero() {
			m.born[app] = time.Now()
		}
	}
}

func (m *meter) bound(pod *v1.Pod) {
	if first := m.begin(m.pods, pod.Name, pod.Spec.Containers[0].Resources.Requests.Cpu().AsApproximateFloat64()); first {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.whole[pod.Labels["spark-app-selector"]] = time.Now()
	}
}

// print says what was, when all nodes have gone.
func (m *meter) print(t *testing.T, scheduler string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	total := func(spans map[string]span) (cpuHours float64) {
		for _, s := range spans {
			until := s.until
			if until.IsZero() {
				until = time.Now()
			}
			cpuHours += s.cpu * until.Sub(s.from).Hours()
		}
		return cpuHours
	}
	var waits []time.Duration
	for app, born := range m.born {
		waits = append(waits, m.whole[app].Sub(born))
	}
	slices.Sort(waits)
	ended := m.began
	for _, s := range m.pods {
		if s.until.After(ended) {
			ended = s.until
		}
	}
	nodes, pods := total(m.nodes), total(m.pods)
	t.Logf("%s, seed %d: %d nodes bought, %.3f node-hours, %.2f CPU-hours of them, %.2f held by pods (%.0f %%); from submission until whole: half within %.1f s, longest %.1f s; the last ended after %.0f s",
		scheduler, *seed, len(m.nodes), nodes/16, nodes, pods, 100*pods/nodes, waits[len(waits)/2].Seconds(), waits[len(waits)-1].Seconds(), ended.Sub(m.began).Seconds())
}
