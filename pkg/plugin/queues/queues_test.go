package queues

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	fakediscovery "k8s.io/client-go/discovery/fake"
	fakedynamic "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	core "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	schedulingv1alpha1 "sigs.k8s.io/scheduler-plugins/apis/scheduling/v1alpha1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/plugin/crd"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

// object is one object in YAML.
func object(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	written := map[string]any{}
	require.NoError(t, yaml.Unmarshal([]byte(text), &written))
	encoded, err := json.Marshal(written)
	require.NoError(t, err)
	read := &unstructured.Unstructured{}
	require.NoError(t, read.UnmarshalJSON(encoded)) // as a client reads them, numbers included
	return read
}

func queue(t testing.TB, name, spec string) *unstructured.Unstructured {
	return object(t, fmt.Sprintf("{apiVersion: retinue.dev/v1alpha1, kind: Queue, metadata: {name: %s, uid: %s-uid, generation: 1}, spec: %s}", name, name, spec))
}

func elastic(t testing.TB, namespace, name, spec string) *unstructured.Unstructured {
	return object(t, fmt.Sprintf("{apiVersion: scheduling.x-k8s.io/v1alpha1, kind: ElasticQuota, metadata: {namespace: %s, name: %s, uid: %s-uid, generation: 1}, spec: %s}", namespace, name, name, spec))
}

func cpus(n int64) quota.Amounts { return quota.Amounts{{Name: v1.ResourceCPU, Value: n * 1000}} }

func TestQueuesAreReadAsTheyAreWritten(t *testing.T) {
	r := readQueues([]*unstructured.Unstructured{
		queue(t, "broken", "{guaranteed: {cpu: much}}"),
		queue(t, "data", "{guaranteed: {cpu: 6}, weight: 1}"),
		queue(t, "etl", "{parent: data, namespaces: [etl-prod], namespaceSelector: {matchLabels: {team: etl}}, guaranteed: {cpu: 4000m}, limit: {cpu: '8', nvidia.com/gpu: 0}, placement: SingleZone, reclaim: {enabled: true, after: 15s, deadZone: 10}}"),
		queue(t, "other", "{namespaces: [etl-prod]}"),
	}, nil, map[string]map[string]string{"etl-1": {"team": "etl"}, "default": nil})

	require.Equal(t, ledger.Queues{
		Specs: []quota.Spec{
			{Name: "data", Guaranteed: cpus(6), Weight: ptr.To(int64(1))},
			{Name: "etl", Parent: "data", Guaranteed: cpus(4), Limit: quota.Amounts{{Name: v1.ResourceCPU, Value: 8000}, {Name: "nvidia.com/gpu", Value: 0}},
				Reclaim: quota.Reclaim{Enabled: true, After: 15 * time.Second, DeadZone: 10}},
			{Name: "other"},
		},
		Namespaces: map[string]string{"etl-prod": "etl", "etl-1": "etl"},
		Strategies: map[string]placement.Strategy{"etl": placement.SingleZone},
	}, r.queues)
	require.Equal(t, map[string]int64{"data": 1, "etl": 1, "other": 1}, r.generations)
	require.Contains(t, r.unreadable["broken"], "not a Kubernetes quantity")
	require.Equal(t, "spec.namespaces: etl-prod: queue etl names this namespace as well; it belongs to etl", problemsOf(r.problems))
}

// A template makes a queue of every namespace, below the one that has it and laid out like it.
func TestNamespacesHaveQueuesOfTheirOwn(t *testing.T) {
	r := readQueues([]*unstructured.Unstructured{
		queue(t, "teams", "{namespaces: [red], namespaceSelector: {matchLabels: {color: any}}, guaranteed: {cpu: 8}, placement: Spread, order: Fair, state: Draining, "+
			"users: {minimumShare: 10, limit: {cpu: 1}}, reclaim: {enabled: true}, perNamespace: {guaranteed: {cpu: 2}, limit: {cpu: 4}, weight: 3, maxRunningGangs: 5}}"),
	}, nil, map[string]map[string]string{"blue": {"color": "any"}, "other": nil})

	share := int64(10)
	child := func(name string) quota.Spec {
		return quota.Spec{Name: name, Parent: "teams", Guaranteed: cpus(2), Limit: cpus(4), Weight: ptr.To(int64(3)), MaxRunningGangs: ptr.To(int64(5)), Order: quota.Fair,
			Users: quota.Users{MinimumShare: &share}, Reclaim: quota.Reclaim{Enabled: true}}
	}
	require.Equal(t, []quota.Spec{child("teams/blue"), child("teams/red")}, r.queues.Specs[1:])
	require.Equal(t, map[string]string{"red": "teams/red", "blue": "teams/blue"}, r.queues.Namespaces)
	require.Equal(t, map[string]placement.Strategy{"teams": placement.Spread, "teams/blue": placement.Spread, "teams/red": placement.Spread}, r.queues.Strategies)
}

func TestElasticQuotasAreFlatQueues(t *testing.T) {
	reclaim := quota.Reclaim{Enabled: true}
	tests := map[string]struct {
		queues, elastic []*unstructured.Unstructured
		want            []quota.Spec
		namespaces      map[string]string
		idle            map[string]string
	}{
		"none": {namespaces: map[string]string{}},
		"together they have what is guaranteed in all": {
			elastic: []*unstructured.Unstructured{elastic(t, "a", "x", "{min: {cpu: 2}, max: {cpu: 5, memory: 1Gi}}"), elastic(t, "b", "first", "{min: {cpu: 3, memory: 2Gi}}"), elastic(t, "c", "z", "{}")},
			want: []quota.Spec{
				{Name: "elasticquota", Limit: quota.Amounts{{Name: v1.ResourceCPU, Value: 5000}, {Name: v1.ResourceMemory, Value: 2 << 30}}, LimitIs: sumOfMins},
				{Name: "elasticquota/a/x", Parent: "elasticquota", Guaranteed: cpus(2), Limit: quota.Amounts{{Name: v1.ResourceCPU, Value: 5000}, {Name: v1.ResourceMemory, Value: 1 << 30}}, Reclaim: reclaim},
				{Name: "elasticquota/b/first", Parent: "elasticquota", Guaranteed: quota.Amounts{{Name: v1.ResourceCPU, Value: 3000}, {Name: v1.ResourceMemory, Value: 2 << 30}}, Reclaim: reclaim},
				{Name: "elasticquota/c/z", Parent: "elasticquota", Reclaim: reclaim},
			},
			namespaces: map[string]string{"a": "elasticquota/a/x", "b": "elasticquota/b/first", "c": "elasticquota/c/z"},
		},
		"what is negative adds nothing": {
			elastic: []*unstructured.Unstructured{elastic(t, "a", "x", "{min: {cpu: -2}}"), elastic(t, "b", "first", "{min: {cpu: 3}}")},
			want: []quota.Spec{
				{Name: "elasticquota", Limit: cpus(3), LimitIs: sumOfMins},
				{Name: "elasticquota/a/x", Parent: "elasticquota", Guaranteed: cpus(-2), Reclaim: reclaim},
				{Name: "elasticquota/b/first", Parent: "elasticquota", Guaranteed: cpus(3), Reclaim: reclaim},
			},
			namespaces: map[string]string{"a": "elasticquota/a/x", "b": "elasticquota/b/first"},
		},
		"the namespace of a Queue, and a second one": {
			queues:  []*unstructured.Unstructured{queue(t, "q", "{namespaces: [a]}")},
			elastic: []*unstructured.Unstructured{elastic(t, "a", "x", "{min: {cpu: 2}}"), elastic(t, "b", "first", "{min: {cpu: 3}}"), elastic(t, "b", "z", "{min: {cpu: 4}}")},
			want: []quota.Spec{
				{Name: "q"}, {Name: "elasticquota", Limit: cpus(3), LimitIs: sumOfMins}, {Name: "elasticquota/b/first", Parent: "elasticquota", Guaranteed: cpus(3), Reclaim: reclaim},
			},
			namespaces: map[string]string{"a": "q", "b": "elasticquota/b/first"},
			idle: map[string]string{
				"elasticquota/a/x": "It does not count: namespace a belongs to Queue q",
				"elasticquota/b/z": "It does not count: namespace b has another ElasticQuota, first, and the first by name counts",
			},
		},
		"a Queue may stand above them": {
			queues:     []*unstructured.Unstructured{queue(t, "elasticquota", "{limit: {cpu: 9}}")},
			elastic:    []*unstructured.Unstructured{elastic(t, "a", "x", "{min: {cpu: 2}}")},
			want:       []quota.Spec{{Name: "elasticquota", Limit: cpus(9)}, {Name: "elasticquota/a/x", Parent: "elasticquota", Guaranteed: cpus(2), Reclaim: reclaim}},
			namespaces: map[string]string{"a": "elasticquota/a/x"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := readQueues(test.queues, test.elastic, nil)
			require.Equal(t, test.want, r.queues.Specs)
			require.Equal(t, test.namespaces, r.queues.Namespaces)
			if test.idle == nil {
				test.idle = map[string]string{}
			}
			require.Equal(t, test.idle, r.idle)
		})
	}
	unreadable := readQueues(nil, []*unstructured.Unstructured{elastic(t, "a", "x", "{min: {cpu: much}}")}, nil)
	require.Empty(t, unreadable.queues.Specs)
	require.Contains(t, unreadable.idle["elasticquota/a/x"], "cannot be read")
}

func TestTheProblemsOfAnElasticQuotaNameItsOwnFields(t *testing.T) {
	tree := quota.New(readQueues(nil, []*unstructured.Unstructured{elastic(t, "a", "x", "{min: {cpu: 3, memory: -1Gi}, max: {cpu: 2}}")}, nil).queues.Specs)
	require.Equal(t, "spec.min.cpu: 3: more than the queue's limit of 2; counts as 2; spec.min.memory: -1Gi: must not be negative; counts as not written",
		complaintOf("", tree.Problems()))
	require.Equal(t, "idle", complaintOf("idle", tree.Problems()))
}

func TestTheStatusOfAQueueSaysHowItStands(t *testing.T) {
	standing := &ledger.QueueStanding{
		Name: "etl", Pool: &ledger.PoolStanding{Nodes: 3, Capacity: resource.Vector{CPU: 48000, Pods: 330}},
		Usage: quota.Usage{
			Used: resource.Vector{CPU: 3500, Memory: 6 << 30, Pods: 7}, Gangs: 2, Waiting: 3, Guaranteed: cpus(2),
			Limit:    quota.Amounts{{Name: v1.ResourceCPU, Value: 8000}, {Name: v1.ResourcePods, Value: 10}, {Name: "nvidia.com/gpu", Value: 0}},
			Borrowed: resource.Vector{CPU: 1500, Memory: 6 << 30, Pods: 7},
		},
		Reasons: map[gang.Reason]int{gang.QueueLimit: 1, gang.ClusterFull: 1, gang.BehindOthers: 1},
		First:   []ledger.QueueWaiter{{Namespace: "etl-prod", Name: "nightly", Reason: gang.QueueLimit}},
	}
	status, err := json.Marshal(statusOfQueue(nil, standing, resource.Vector{CPU: 2049, Memory: 5<<30 + 7}))
	require.NoError(t, err)
	require.JSONEq(t, `{"used":{"cpu":"3500m","memory":"6Gi","nvidia.com/gpu":"0","pods":"7"},"guaranteed":{"cpu":"2"},"fairShare":{"cpu":"2","memory":"5Gi"},
		"pool":{"nodes":3,"capacity":{"cpu":"48"}},"borrowed":{"cpu":"1500m","memory":"6Gi"},"running":2,"waiting":3,"topReason":"BehindOthers",
		"waiters":[{"namespace":"etl-prod","name":"nightly","reason":"QueueLimit"}],
		"columns":{"cpu":"3500m/2/8","memory":"6Gi/-/-","borrowed":"cpu 1500m, memory 6Gi"}}`, string(status))
}

func TestAnElasticQuotaIsToldWhatItNames(t *testing.T) {
	quota, err := crd.Decode[schedulingv1alpha1.ElasticQuota](elastic(t, "a", "x", "{min: {cpu: 3, nvidia.com/gpu: 1}, max: {memory: 4Gi, pods: 9}}"))
	require.NoError(t, err)
	status, err := json.Marshal(statusOfElastic(quota, resource.Vector{CPU: 1500, Memory: 1 << 30, Pods: 2, EphemeralStorage: 7}))
	require.NoError(t, err)
	require.JSONEq(t, `{"used":{"cpu":"1500m","memory":"1Gi","pods":"2","nvidia.com/gpu":"0"}}`, string(status))
}

// served is an API server with Queues and ElasticQuotas, or without.
type served struct {
	dynamic *fakedynamic.FakeDynamicClient
	known   *core.Fake
	patches []string // to statuses, in order
}

func newServed(kinds ...schema.GroupVersionResource) *served {
	s := &served{known: &core.Fake{}, dynamic: fakedynamic.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{
		Resource: "QueueList", ElasticResource: "ElasticQuotaList",
	})}
	s.dynamic.PrependReactor("patch", "*", func(action core.Action) (bool, runtime.Object, error) {
		patch := action.(core.PatchAction)
		s.patches = append(s.patches, fmt.Sprintf("%s/%s %s %s", action.GetResource().Resource, action.GetSubresource(), patch.GetName(), patch.GetPatch()))
		return false, nil, nil
	})
	s.serve(kinds...)
	return s
}

func (s *served) serve(kinds ...schema.GroupVersionResource) {
	for _, kind := range kinds {
		s.known.Resources = append(s.known.Resources, &metav1.APIResourceList{GroupVersion: kind.GroupVersion().String(), APIResources: []metav1.APIResource{{Name: kind.Resource}}})
	}
}

func (s *served) create(t testing.TB, resource schema.GroupVersionResource, object *unstructured.Unstructured) {
	t.Helper()
	_, err := s.dynamic.Resource(resource).Namespace(object.GetNamespace()).Create(context.Background(), object, metav1.CreateOptions{})
	require.NoError(t, err)
}

// harness is queues with an API server, a ledger, and time that passes only when everybody waits.
type harness struct {
	t      testing.TB
	ctx    context.Context
	client *fake.Clientset
	served *served
	queues *Queues
	events *events.FakeRecorder
	// readings are what the ledger has been told of queues.
	readings []ledger.Queues
}

// bubble runs a test of queues in a cluster with these namespaces and kinds.
func bubble(t *testing.T, namespaces []runtime.Object, s *served, test func(*harness), set ...func(*Outside)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		h := &harness{t: t, ctx: ctx, client: fake.NewClientset(namespaces...), served: s, events: events.NewFakeRecorder(100)}
		factory := informers.NewSharedInformerFactory(h.client, 0)
		outside := crd.Outside{Dynamic: s.dynamic, Discovery: &fakediscovery.FakeDiscovery{Fake: s.known}, Recorder: h.events, Clock: clock.RealClock{}, Logger: klog.Background()}
		known := ledger.New(v1.LabelTopologyZone, placement.Pack)
		var err error
		with := Outside{
			Queues: outside.Optional(Resource), Elastic: outside.Optional(ElasticResource), Informers: factory, Recorder: h.events,
			Clock: clock.RealClock{}, Logger: klog.Background(), Ledger: known, Tell: func(event ledger.Event) {
				_, err := known.Apply(time.Now(), event)
				require.NoError(t, err)
				h.readings = append(h.readings, event.(ledger.QueuesSeen).Queues)
			},
		}
		for _, change := range set {
			change(&with)
		}
		h.queues, err = New(with)
		require.NoError(t, err)
		factory.Start(ctx.Done())
		go h.queues.Run(ctx)
		h.after(time.Second)
		test(h)
		stop()
		factory.Shutdown()
	})
}

// after lets time pass.
func (h *harness) after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// told returns the events recorded since it was last asked.
func (h *harness) told() []string {
	var told []string
	for {
		select {
		case event := <-h.events.Events:
			told = append(told, event)
		default:
			return told
		}
	}
}

func namespace(name, team string) *v1.Namespace {
	return &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"team": team}}}
}

func TestTheLedgerIsToldOfQueuesWhenTheyChange(t *testing.T) {
	var objects []runtime.Object
	for i := range 200 {
		objects = append(objects, namespace(fmt.Sprint("ns-", i), "none"))
	}
	s := newServed(Resource)
	s.create(t, Resource, queue(t, "etl", "{namespaceSelector: {matchLabels: {team: etl}}}"))
	bubble(t, objects, s, func(h *harness) {
		q := h.queues
		require.True(t, q.Known())
		require.Len(t, h.readings, 1, "all that is there in one")
		require.Empty(t, q.latest.Load().queues.Namespaces)

		_, err := h.client.CoreV1().Namespaces().Update(h.ctx, namespace("ns-7", "etl"), metav1.UpdateOptions{})
		require.NoError(t, err)
		h.after(time.Second)
		require.Equal(t, map[string]string{"ns-7": "etl"}, q.latest.Load().queues.Namespaces)
		require.Len(t, h.readings, 2)

		// Nothing of this makes a difference.
		_, err = h.client.CoreV1().Namespaces().Update(h.ctx, namespace("ns-8", "other"), metav1.UpdateOptions{})
		require.NoError(t, err)
		reported := queue(t, "etl", "{namespaceSelector: {matchLabels: {team: etl}}}")
		reported.Object["status"] = map[string]any{"running": int64(3)}
		_, err = s.dynamic.Resource(Resource).Update(h.ctx, reported, metav1.UpdateOptions{})
		require.NoError(t, err)
		h.after(time.Second)
		require.Len(t, h.readings, 2)

		require.NoError(t, h.client.CoreV1().Namespaces().Delete(h.ctx, "ns-7", metav1.DeleteOptions{}))
		h.after(time.Second)
		require.Empty(t, q.latest.Load().queues.Namespaces)
		require.NoError(t, s.dynamic.Resource(Resource).Delete(h.ctx, "etl", metav1.DeleteOptions{}))
		h.after(time.Second)
		require.Empty(t, q.latest.Load().queues.Specs)
		require.Len(t, h.readings, 4)
	})
}

// TestKindsMayComeLater: a cluster without them has no queues, and gangs may start.
func TestKindsMayComeLater(t *testing.T) {
	s := newServed()
	bubble(t, []runtime.Object{namespace("a", "none"), namespace("b", "none")}, s, func(h *harness) {
		q := h.queues
		require.True(t, q.Known())
		require.Empty(t, q.latest.Load().queues.Specs)
		s.create(t, Resource, queue(t, "etl", "{namespaces: [a]}"))
		s.create(t, ElasticResource, elastic(t, "a", "x", "{}"))
		s.create(t, ElasticResource, elastic(t, "b", "first", "{}"))
		s.serve(ElasticResource)
		h.after(31 * time.Second)
		require.Equal(t, map[string]string{"a": "elasticquota/a/x", "b": "elasticquota/b/first"}, q.latest.Load().queues.Namespaces)
		s.serve(Resource)
		h.after(31 * time.Second)
		require.Equal(t, map[string]string{"a": "etl", "b": "elasticquota/b/first"}, q.latest.Load().queues.Namespaces)
		h.after(time.Minute)
		require.Equal(t, []string{"Warning NotAsWritten It does not count: namespace a belongs to Queue etl"}, h.told(), "once")
	})
}

// TestStatusesAreWrittenOnce: what stands there already is not written again.
func TestStatusesAreWrittenOnce(t *testing.T) {
	s := newServed(Resource, ElasticResource)
	s.create(t, Resource, queue(t, "a", "{namespaces: [x]}"))
	s.create(t, Resource, queue(t, "b", "{namespaces: [x]}"))
	s.create(t, Resource, queue(t, "c", "{guaranteed: {cpu: much}}"))
	bubble(t, nil, s, func(h *harness) {
		h.after(time.Minute)
		require.Len(t, s.patches, 3)
		for i, want := range []string{
			`queues/status a {"metadata":{"uid":"a-uid"},"status":{`,
			`"message":"spec.namespaces: x: queue a names this namespace as well; it belongs to a","observedGeneration":1,"reason":"NotAsWritten","status":"False","type":"Valid"`,
			`"reason":"Unreadable","status":"False"`,
		} {
			require.Contains(t, s.patches[i], want)
		}
		require.Contains(t, s.patches[0], `"observedGeneration":1,"reason":"AsWritten","status":"True","type":"Valid"`)
	})
}

// An ElasticQuota says more than all of them together may use: that is told on it, with where the number comes from.
func TestAnElasticQuotaHearsThatItsMaxIsBeyondTheSumOfAllMins(t *testing.T) {
	r := readQueues(nil, []*unstructured.Unstructured{elastic(t, "a", "x", "{min: {cpu: 10}, max: {cpu: 40, memory: 1Gi}}")}, nil)
	require.Equal(t, "spec.max.cpu: 40: it can never use more than 10, the sum of the min of every ElasticQuota", complaintOf("", r.problems))
	tree := quota.New(r.queues.Specs)
	verdict := tree.Fits("elasticquota/a/x", quota.Demand{Amount: resource.Vector{CPU: 20_000}, Gangs: 1})
	require.Equal(t, "asks for cpu 20, and the limit of queue elasticquota is 10, the sum of the min of every ElasticQuota: it can never start", verdict.String())

	r = readQueues(nil, []*unstructured.Unstructured{elastic(t, "a", "x", "{min: {cpu: 10}, max: {cpu: 40}}"), elastic(t, "b", "second", "{min: {cpu: 30}}")}, nil)
	require.Empty(t, r.problems)
}
