package integration_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	schedulingv1alpha1 "sigs.k8s.io/scheduler-plugins/apis/scheduling/v1alpha1"
	"sigs.k8s.io/yaml"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/test/cluster"
)

var (
	queuesResource  = v1alpha1.SchemeGroupVersion.WithResource("queues")
	elasticResource = schedulingv1alpha1.SchemeGroupVersion.WithResource("elasticquotas")
)

// objects is the client for objects of one kind; an empty namespace is for kinds that have none.
func (s *stage) objects(resource schema.GroupVersionResource, namespace string) dynamic.ResourceInterface {
	s.t.Helper()
	client, err := dynamic.NewForConfig(s.cluster.RESTConfig())
	require.NoError(s.t, err)
	return client.Resource(resource).Namespace(namespace)
}

// create creates an object written in YAML, which goes when the test ends.
func (s *stage) create(resource schema.GroupVersionResource, text string) {
	s.t.Helper()
	object := &unstructured.Unstructured{}
	require.NoError(s.t, yaml.Unmarshal([]byte(text), &object.Object))
	client := s.objects(resource, object.GetNamespace())
	_, err := client.Create(s.t.Context(), object, metav1.CreateOptions{})
	require.NoError(s.t, err)
	s.t.Cleanup(func() {
		if err := client.Delete(context.Background(), object.GetName(), metav1.DeleteOptions{}); err != nil {
			s.t.Errorf("delete %s %s: %v", object.GetKind(), object.GetName(), err)
		}
	})
}

func (s *stage) queue(name, spec string) {
	s.t.Helper()
	s.create(queuesResource, fmt.Sprintf("{apiVersion: retinue.dev/v1alpha1, kind: Queue, metadata: {name: %s}, spec: %s}", name, spec))
}

func (s *stage) elasticQuota(namespace, name, spec string) {
	s.t.Helper()
	s.create(elasticResource, fmt.Sprintf("{apiVersion: scheduling.x-k8s.io/v1alpha1, kind: ElasticQuota, metadata: {namespace: %s, name: %s}, spec: %s}", namespace, name, spec))
}

// specify changes the spec of a queue; null takes a field out.
func (s *stage) specify(name, spec string) {
	s.t.Helper()
	patch, err := yaml.YAMLToJSON([]byte("spec: " + spec))
	require.NoError(s.t, err)
	_, err = s.objects(queuesResource, "").Patch(s.t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{})
	require.NoError(s.t, err)
}

// awaitQueue waits until the status of a queue is about its present spec and as wanted.
func (s *stage) awaitQueue(name, what string, condition func(v1alpha1.QueueStatus) bool) v1alpha1.QueueStatus {
	s.t.Helper()
	var queue v1alpha1.Queue
	client := s.objects(queuesResource, "")
	met := func() bool {
		object, err := client.Get(s.t.Context(), name, metav1.GetOptions{})
		queue = v1alpha1.Queue{}
		return err == nil && runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &queue) == nil &&
			queue.Status.ObservedGeneration == queue.Generation && condition(queue.Status)
	}
	if !eventually(met) {
		s.t.Fatalf("queue %s never %s: %+v", name, what, queue.Status)
	}
	return queue.Status
}

// eventually waits for a condition.
func eventually(condition func() bool) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if condition() {
			return true
		}
		<-time.After(look)
	}
	return false
}

// awaitValid waits until a queue counts as it is written.
func (s *stage) awaitValid(name string) v1alpha1.QueueStatus {
	s.t.Helper()
	return s.awaitQueue(name, "counts as written", func(status v1alpha1.QueueStatus) bool {
		return meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionValid)
	})
}

// awaitInvalid waits until a queue says that it does not count as it is written, and why.
func (s *stage) awaitInvalid(name, why string) {
	s.t.Helper()
	s.awaitQueue(name, "says "+why, func(status v1alpha1.QueueStatus) bool {
		valid := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionValid)
		return valid != nil && valid.Status == metav1.ConditionFalse && strings.Contains(valid.Message, why)
	})
}

// awaitEvent waits for an event about an object.
func (s *stage) awaitEvent(namespace, name, text string) {
	s.t.Helper()
	require.True(s.t, eventually(func() bool {
		events, err := s.client.EventsV1().Events(namespace).List(s.t.Context(), metav1.ListOptions{})
		require.NoError(s.t, err)
		for _, event := range events.Items {
			if event.Regarding.Name == name && strings.Contains(event.Reason+": "+event.Note, text) {
				return true
			}
		}
		return false
	}), "no event says of %s: %s", name, text)
}

// TestAnApplicationOverTheLimitOfItsQueueWaitsForRoomOrForMore, and the queue says so.
func TestAnApplicationOverTheLimitOfItsQueueWaitsForRoomOrForMore(t *testing.T) {
	s := newStage(t, 2, 8)
	s.queue("team", "{guaranteed: {cpu: 4}}")
	s.queue("etl", "{parent: team, namespaces: [default], guaranteed: {cpu: 2}, limit: {cpu: 6}}")
	s.awaitValid("team")
	s.awaitValid("etl")
	s.simulate()
	s.submit(sized("first", 1, 2, 2))
	s.awaitWhole("first", 2)
	s.submit(sized("second", 1, 1, 1))
	s.awaitWaiting("second", "QueueLimit: ")
	for _, name := range []string{"etl", "team"} {
		status := s.awaitQueue(name, "shows who runs and who waits", func(status v1alpha1.QueueStatus) bool {
			return status.Running == 1 && status.Waiting == 1 && status.TopReason == "QueueLimit" && status.Used.Cpu().Value() == 5
		})
		require.Equal(t, map[string]string{"etl": "5/2/6", "team": "5/4/-"}[name], status.Columns.CPU)
		require.Contains(t, status.Columns.Borrowed, map[string]string{"etl": "cpu 3", "team": "cpu 1"}[name])
	}
	s.specify("etl", "{limit: {cpu: 7}}")
	s.awaitWhole("second", 1)
	s.awaitQueue("etl", "shows that both run", func(status v1alpha1.QueueStatus) bool {
		return status.Running == 2 && status.Waiting == 0 && status.TopReason == "" && status.Columns.CPU == "7/2/7"
	})
}

func TestWhatContradictsOtherQueuesIsACondition(t *testing.T) {
	s := newStage(t, 1, 4)
	s.queue("hen", "{parent: egg, namespaces: [default]}")
	s.queue("egg", "{parent: hen, namespaces: [default]}")
	s.queue("far", "{parent: nowhere, guaranteed: {cpu: 1000}}")
	s.awaitInvalid("egg", "circle (egg → hen → egg)")
	s.awaitInvalid("hen", "circle (hen → egg → hen)")
	s.awaitInvalid("hen", "spec.namespaces: default: queue egg names this namespace as well; it belongs to egg")
	s.awaitInvalid("far", "spec.parent: nowhere: there is no such queue")
	s.awaitInvalid("far", "spec.guaranteed.cpu: 1k: more than the nodes have")
	s.lone("small", 1)
	s.awaitBound("small")

	s.specify("egg", "{parent: null, namespaces: null}")
	s.specify("far", "{parent: egg, guaranteed: null}")
	for _, name := range []string{"hen", "egg", "far"} {
		s.awaitValid(name)
	}
	s.awaitQueue("egg", "has what its own queues use", func(status v1alpha1.QueueStatus) bool { return status.Used.Cpu().Value() == 1 })
}

// TestANamespaceFallsIntoItsQueueByItsLabels: what runs there is charged anew.
func TestANamespaceFallsIntoItsQueueByItsLabels(t *testing.T) {
	s := newStage(t, 1, 4)
	s.queue("etl", "{namespaceSelector: {matchLabels: {team: etl}}, limit: {cpu: 2}}")
	s.lone("early", 2)
	s.awaitBound("early")
	before := s.awaitValid("etl")
	require.Zero(t, before.Used.Cpu().Value())
	label := func(team string) {
		patch := fmt.Appendf(nil, `{"metadata":{"labels":{"team":%s}}}`, team)
		_, err := s.client.CoreV1().Namespaces().Patch(context.Background(), metav1.NamespaceDefault, types.MergePatchType, patch, metav1.PatchOptions{})
		require.NoError(t, err)
	}
	t.Cleanup(func() { label("null") })
	label(`"etl"`)
	s.awaitQueue("etl", "has the namespace", func(status v1alpha1.QueueStatus) bool { return status.Used.Cpu().Value() == 2 })
	s.lone("late", 1)
	s.awaitRefused("late")
	label(`"web"`)
	s.awaitBound("late")
	s.awaitQueue("etl", "has lost it", func(status v1alpha1.QueueStatus) bool { return status.Used.Cpu().IsZero() })
}

// TestElasticQuotasAreQueuesUntilAQueueTakesTheirNamespace.
func TestElasticQuotasAreQueuesUntilAQueueTakesTheirNamespace(t *testing.T) {
	s := newStage(t, 1, 8)
	s.installPodGroups()
	s.elasticQuota("default", "main", "{min: {cpu: 2}, max: {cpu: 3, memory: 1Gi}}")
	s.elasticQuota("default", "spare", "{min: {cpu: 5}}")
	s.elasticQuota("kube-system", "main", "{min: {cpu: 4, memory: 1Gi}, max: {cpu: 3}}")
	used := func(name string) (used v1.ResourceList) {
		object, err := s.objects(elasticResource, "default").Get(t.Context(), name, metav1.GetOptions{})
		require.NoError(t, err)
		var quota schedulingv1alpha1.ElasticQuota
		require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &quota))
		return quota.Status.Used
	}
	s.awaitEvent("default", "spare", "namespace default has another ElasticQuota, main")
	s.awaitEvent("kube-system", "main", "spec.min.cpu: 4: more than the queue's limit of 3; counts as 3")
	s.lone("small", 3)
	s.awaitBound("small")
	s.lone("large", 2)
	s.awaitRefused("large")
	require.True(t, eventually(func() bool {
		list := used("main")
		return len(list) == 2 && list.Cpu().Value() == 3 && list.Memory().IsZero()
	}), "it says that %v is used", used("main"))
	require.Empty(t, used("spare"))

	s.queue("etl", "{namespaces: [default]}")
	s.awaitBound("large")
	s.awaitEvent("default", "main", "namespace default belongs to Queue etl")
	s.awaitQueue("etl", "has what runs there", func(status v1alpha1.QueueStatus) bool { return status.Used.Cpu().Value() == 5 })
}

// TestQueuesMayBeInstalledLater: a scheduler that started without their definition works, and finds it.
func TestQueuesMayBeInstalledLater(t *testing.T) {
	s := newStage(t, 1, 4)
	_, err := s.cluster.Kubectl(t.Context(), "delete", "crd", "queues.retinue.dev")
	require.NoError(t, err)
	s.restart()
	s.lone("small", 1)
	s.awaitBound("small")
	definitions := filepath.Join(s.cluster.Config().Manifests, "..", "crd")
	_, err = s.cluster.Kubectl(t.Context(), "apply", "-k", definitions)
	require.NoError(t, err)
	_, err = s.cluster.Kubectl(t.Context(), "wait", "--for=condition=Established", "crd/queues.retinue.dev")
	require.NoError(t, err)
	s.queue("etl", "{namespaces: [default], limit: {cpu: 1}}")
	s.awaitQueue("etl", "is known", func(status v1alpha1.QueueStatus) bool { return status.Used.Cpu().Value() == 1 })
	// What a scheduler finds at its start counts from the first pod on.
	s.restart()
	s.lone("another", 1)
	s.awaitRefused("another")
}

// TestTheSchedulerMayDoWhatItNeedsAndNoMore asks the API server about its account, also for kinds that the cluster does not have.
func TestTheSchedulerMayDoWhatItNeedsAndNoMore(t *testing.T) {
	c := start(t)
	for permission, want := range map[string]bool{
		"list queues.retinue.dev": true, "watch queues.retinue.dev": true, "patch queues.retinue.dev/status": true,
		"create queues.retinue.dev": false, "update queues.retinue.dev": false, "patch queues.retinue.dev": false, "delete queues.retinue.dev": false,
		"list elasticquotas.scheduling.x-k8s.io": true, "watch elasticquotas.scheduling.x-k8s.io": true, "patch elasticquotas.scheduling.x-k8s.io/status": true,
		"patch elasticquotas.scheduling.x-k8s.io": false,
		"create pods/eviction":                    true, "delete pods": true, "patch pods/status": true, "list poddisruptionbudgets.policy": true,
		"list namespaces": true, "watch namespaces": true, "patch namespaces": false,
		"get configmaps": true, "list configmaps": false, "get priorityclasses.scheduling.k8s.io": true, "get runtimeclasses.node.k8s.io": true, "get secrets": false, "create pods": false,
	} {
		verb, resource, _ := strings.Cut(permission, " ")
		resource, subresource, _ := strings.Cut(resource, "/")
		kind := schema.ParseGroupResource(resource)
		review, err := c.Client().AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User:               "system:serviceaccount:retinue-system:retinue",
			Groups:             []string{"system:serviceaccounts", "system:serviceaccounts:retinue-system", "system:authenticated"},
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Group: kind.Group, Resource: kind.Resource, Subresource: subresource},
		}}, metav1.CreateOptions{})
		require.NoError(t, err)
		require.Equal(t, want, review.Status.Allowed, "%s: %s", permission, review.Status.Reason)
	}
}

// TestAnAdmissionPolicyVouchesForUsers: the example of the docs keeps users from naming somebody else.
func TestAnAdmissionPolicyVouchesForUsers(t *testing.T) {
	needsCluster(t)
	c := cluster.ForTest(t, cluster.Config{Components: []cluster.Component{cluster.Etcd, cluster.APIServer}})
	text, err := os.ReadFile(filepath.Join(c.Config().Manifests, "..", "..", "docs", "queues.md"))
	require.NoError(t, err)
	blocks := strings.Split(string(text), "```")
	policy := slices.IndexFunc(blocks, func(block string) bool { return strings.Contains(block, "kind: ValidatingAdmissionPolicy\n") })
	require.Positive(t, policy, "docs/queues.md has no policy")
	file := filepath.Join(t.TempDir(), "policy.yaml")
	require.NoError(t, os.WriteFile(file, []byte(strings.TrimPrefix(blocks[policy], "yaml\n")), 0o600))
	_, err = c.Kubectl(t.Context(), "apply", "--validate=strict", "-f", file)
	require.NoError(t, err)
	_, err = c.Client().CoreV1().ServiceAccounts("default").Create(t.Context(), &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = c.Kubectl(t.Context(), "create", "clusterrole", "submitter", "--verb=create", "--resource=pods")
	require.NoError(t, err)
	_, err = c.Kubectl(t.Context(), "create", "clusterrolebinding", "submitter", "--clusterrole=submitter", "--user=ann", "--user=bob@example.org", "--user=system:serviceaccount:default:spark")
	require.NoError(t, err)

	run := func(user, metadata, scheduler string) error {
		pod := filepath.Join(t.TempDir(), "pod.yaml")
		manifest := fmt.Sprintf("{apiVersion: v1, kind: Pod, metadata: {name: driver, %s}, spec: {schedulerName: %s, containers: [{name: main, image: spark}]}}", metadata, scheduler)
		require.NoError(t, os.WriteFile(pod, []byte(manifest), 0o600))
		_, err := c.Kubectl(t.Context(), "create", "--dry-run=server", "--as="+user, "-f", pod)
		return err
	}
	const ann, bob, eve = "labels: {retinue.dev/user: ann}", "annotations: {retinue.dev/user: bob@example.org}", "labels: {retinue.dev/user: eve}"
	require.True(t, eventually(func() bool {
		err := run("ann", eve, "retinue")
		return err != nil && strings.Contains(err.Error(), "retinue.dev/user")
	}), "the policy has no effect")
	tests := map[string]struct {
		user, metadata, scheduler string
		refused                   bool
	}{
		"who names himself by label":             {"ann", ann, "retinue", false},
		"who names himself by annotation":        {"bob@example.org", bob, "retinue", false},
		"who names somebody else":                {"ann", bob, "retinue", true},
		"who names himself and is somebody else": {"bob@example.org", eve + ", " + bob, "retinue", true},
		"who names nobody":                       {"ann", "labels: {}", "retinue", true},
		"a driver that creates its executors":    {"system:serviceaccount:default:spark", "labels: {}", "retinue", false},
		"who does not use this scheduler":        {"ann", "labels: {}", "default-scheduler", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := run(test.user, test.metadata, test.scheduler)
			if !test.refused {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, "must name the user who creates the pod")
		})
	}
}
