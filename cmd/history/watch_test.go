package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery/fake"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	kubernetesfake "k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clocktesting "k8s.io/utils/clock/testing"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/history/meter"
	"retinue.dev/retinue/pkg/history/store"
)

var start = time.Date(2026, 11, 29, 9, 30, 0, 0, time.UTC)

// patience is how long anything may take that happens at all.
const patience = time.Minute

// played is a meter that runs in a cluster that is played.
type played struct {
	*testing.T
	clock   *clocktesting.FakeClock
	clients *clients
	store   *store.Store
	watch   *watch
	stop    func()
}

func newPlayed(t *testing.T) *played {
	scheme := runtime.NewScheme()
	require.NoError(t, metav1.AddMetaToScheme(scheme))
	typed := kubernetesfake.NewClientset()
	typed.Discovery().(*fake.FakeDiscovery).Resources = []*metav1.APIResourceList{{GroupVersion: v1alpha1.GroupVersion, APIResources: []metav1.APIResource{{Name: "queues"}}}}
	queues := map[schema.GroupVersionResource]string{v1alpha1.SchemeGroupVersion.WithResource("queues"): "QueueList"}
	queue := &unstructured.Unstructured{Object: map[string]any{"apiVersion": v1alpha1.GroupVersion, "kind": "Queue", "metadata": map[string]any{"name": "team"}, "spec": map[string]any{"namespaces": []any{"etl"}}}}
	p := &played{T: t, clock: clocktesting.NewFakeClock(start), clients: &clients{
		typed: typed, dynamic: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(scheme, queues, queue), metadata: metadatafake.NewSimpleMetadataClient(scheme, &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}, ObjectMeta: metav1.ObjectMeta{Name: "node", UID: "uid-node"}}),
	}}
	_, err := typed.CoreV1().Namespaces().Create(t.Context(), &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "etl"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = typed.CoreV1().Nodes().Create(t.Context(), &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node", UID: "uid-node", ResourceVersion: "1", CreationTimestamp: metav1.NewTime(start), Labels: map[string]string{v1.LabelInstanceTypeStable: "large"}},
		Status: v1.NodeStatus{Allocatable: v1.ResourceList{v1.ResourceCPU: resource.MustParse("64")}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	p.store, err = store.Open(t.Context(), filepath.Join(t.TempDir(), "history.db"), start.UnixMilli())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.store.Close()) })
	p.begin()
	return p
}

// begin starts a meter, and stop stops it.
func (p *played) begin() {
	var err error
	p.watch, err = newWatch(&options{clock: p.clock, classLabel: meter.DefaultClassLabel}, p.clients, p.store)
	require.NoError(p, err)
	ctx, cancel := context.WithCancel(p.Context())
	done := make(chan error, 1)
	go func() { done <- p.watch.run(ctx) }()
	p.stop = func() {
		cancel()
		require.NoError(p, <-done)
	}
	require.Eventually(p, func() bool { return p.watch.known.Load() && p.clock.HasWaiters() }, patience, time.Millisecond)
}

// until steps the clock, second by second, until something holds.
func (p *played) until(holds func() bool) {
	p.Helper()
	require.Eventually(p, func() bool {
		p.clock.Step(time.Second)
		return holds()
	}, patience, 5*time.Millisecond)
}

func (p *played) pod(name string) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "etl", Name: name, UID: "uid-1", Generation: 1, CreationTimestamp: metav1.NewTime(start), Labels: map[string]string{"retinue.dev/user": "ann"}},
		Spec:   v1.PodSpec{NodeName: "node", Containers: []v1.Container{{Name: "c", Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("2")}}}}},
		Status: v1.PodStatus{Phase: v1.PodRunning, Conditions: []v1.PodCondition{{Type: v1.PodScheduled, Status: v1.ConditionTrue, LastTransitionTime: metav1.NewTime(start)}}}}
}

func (p *played) story() *store.Story {
	story, err := p.store.Story(p.Context(), "etl/uid-1")
	if err != nil {
		require.ErrorIs(p, err, store.ErrNone)
		return &store.Story{}
	}
	return story
}

func TestThePodsOfAClusterAreWritten(t *testing.T) {
	p := newPlayed(t)
	pods := p.clients.typed.CoreV1().Pods("etl")
	created, err := pods.Create(t.Context(), p.pod("one"), metav1.CreateOptions{})
	require.NoError(t, err)
	p.until(func() bool { return p.story().Running == 1 })
	span := p.story().Spans[0]
	require.Equal(t, []string{"large", "team", "ann"}, []string{span.Class, span.Queue, span.User})
	p.until(func() bool {
		state, err := p.store.State(t.Context())
		require.NoError(t, err)
		return state.Heartbeat > start.UnixMilli() && state.Horizon > start.UnixMilli()
	})
	p.clock.Step(time.Minute)
	// It is written how it ended, though the meter is stopped at once, as it happened or when it is back.
	created.Status.Phase = v1.PodSucceeded
	created.Status.ContainerStatuses = []v1.ContainerStatus{{State: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{FinishedAt: metav1.NewTime(start.Add(30 * time.Second))}}}}
	_, err = pods.UpdateStatus(t.Context(), created, metav1.UpdateOptions{})
	require.NoError(t, err)
	p.stop()
	p.begin()
	p.until(func() bool { return p.story().Running == 0 })
	require.Equal(t, map[string]int64{"cpu": 60_000}, p.story().Spans[0].Used(0))
	p.stop()
}

// TestAPodThatWentUnseenIsEnded: its end is inferred by lists that no cache answers.
func TestAPodThatWentUnseenIsEnded(t *testing.T) {
	p := newPlayed(t)
	pods := p.clients.typed.CoreV1().Pods("etl")
	_, err := pods.Create(t.Context(), p.pod("one"), metav1.CreateOptions{})
	require.NoError(t, err)
	p.until(func() bool { return p.story().Running == 1 })
	p.stop()
	require.NoError(t, pods.Delete(t.Context(), "one", metav1.DeleteOptions{}))
	p.begin()
	p.until(func() bool { return p.story().Running == 0 })
	require.Equal(t, store.EndInferred, p.story().Spans[0].End.Rank)
	nodes, err := p.store.Open(t.Context(), store.Node)
	require.NoError(t, err)
	require.Len(t, nodes, 1, "what is there lasts")
	p.stop()
}

func TestHealthSaysWhetherAllPodsHaveBeenSeen(t *testing.T) {
	w, site := &watch{}, http.NotFoundHandler()
	for known, want := range map[bool]int{false: 503, true: 200} {
		w.known.Store(known)
		answer := httptest.NewRecorder()
		handler(w, site).ServeHTTP(answer, httptest.NewRequest("GET", "/readyz", nil))
		require.Equal(t, want, answer.Code)
	}
	answer := httptest.NewRecorder()
	handler(w, site).ServeHTTP(answer, httptest.NewRequest("GET", "/livez", nil))
	require.Equal(t, 200, answer.Code)
}

// TestTheSiteAnswersWhoMayAsk: without a token nobody is answered, unless the site is public.
func TestTheSiteAnswersWhoMayAsk(t *testing.T) {
	p := newPlayed(t)
	defer p.stop()
	prices := filepath.Join(t.TempDir(), "prices.yaml")
	require.NoError(t, os.WriteFile(prices, []byte("rates: [{resource: cpu, price: 1}]"), 0o600))
	for public, want := range map[bool]int{false: 401, true: 200} {
		site, err := newSite(&options{clock: p.clock, public: public, prices: prices}, p.clients, p.store)
		require.NoError(t, err)
		for _, path := range []string{"/", "/apps", "/usage", "/v1/apps", "/v1/queues", "/v1/usage"} {
			answer := httptest.NewRecorder()
			handler(p.watch, site).ServeHTTP(answer, httptest.NewRequest("GET", path, nil))
			require.Equal(t, want, answer.Code, path)
		}
	}
	require.NoError(t, os.WriteFile(prices, []byte("rates: [{resource: cpu, price: -1}]"), 0o600))
	_, err := newSite(&options{clock: p.clock, prices: prices}, p.clients, p.store)
	require.ErrorContains(t, err, "rates[0].price")
}

func TestTheCommandsWorkOnAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "history.db")
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		command := newCommand(clocktesting.NewFakeClock(start), &out)
		command.SetArgs(append(args, "--store="+file))
		err := command.ExecuteContext(t.Context())
		return out.String(), err
	}
	out, err := run("fsck")
	require.NoError(t, err)
	require.Equal(t, "0 sums are those of the pods\n", out)
	_, err = run("backup", filepath.Join(t.TempDir(), "copy.db"))
	require.NoError(t, err)
	_, err = run("backup")
	require.Error(t, err)
	t.Setenv("RETINUE_STORE", "/no/such/directory/history.db")
	_, err = run("fsck")
	require.ErrorContains(t, err, "the store: ")
}
