package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	schedulingv1alpha1 "sigs.k8s.io/scheduler-plugins/apis/scheduling/v1alpha1"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/reservation"
	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/test/sparksim"
)

var update = flag.Bool("update", false, "write the golden files and the examples of docs/kubectl.md anew")

// noon is what time it is on a stage, two hours later.
var noon = time.Date(2026, time.November, 29, 12, 0, 0, 0, time.UTC)

// stage is an API server that has objects, and may refuse some.
type stage struct {
	t       *testing.T
	url     string
	objects map[string]map[string]any // path -> object
	// forbidden tells what its user may not do.
	forbidden func(method, path string) bool
	// patches are what has been sent, in order.
	patches []string
	seen    []string
	// mayWatch tells whether its user may watch.
	mayWatch bool

	mu       sync.Mutex                       // guards what requests change, and everything below
	watchers map[string][]chan map[string]any // path -> events, for each that watches
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, objects: map[string]map[string]any{}, mayWatch: true, watchers: map[string][]chan map[string]any{}, forbidden: func(string, string) bool { return false }}
	server := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(server.Close)
	t.Cleanup(s.hangUp)
	s.url = server.URL
	former := now
	now = func() time.Time { return noon.Add(2 * time.Hour) }
	t.Cleanup(func() { now = former })
	return s
}

// onlyNamespace lets the user read and change what is in one namespace, and nothing else.
func (s *stage) onlyNamespace(namespace string) *stage {
	s.forbidden = func(_, path string) bool { return !strings.Contains(path, "/namespaces/"+namespace+"/") }
	return s
}

var kinds = map[string]string{
	"Pod": "/api/v1 pods", "ConfigMap": "/api/v1 configmaps", "Event": "/api/v1 events", "ResourceQuota": "/api/v1 resourcequotas", "LimitRange": "/api/v1 limitranges",
	"Node": "/api/v1 nodes", "Namespace": "/api/v1 namespaces", "Queue": "/apis/retinue.dev/v1alpha1 queues", "PodGroup": "/apis/scheduling.x-k8s.io/v1alpha1 podgroups",
	"NativePodGroup": "/apis/scheduling.k8s.io/v1beta1 podgroups",
	"Lease":          "/apis/coordination.k8s.io/v1 leases", "Deployment": "/apis/apps/v1 deployments",
}

func (s *stage) add(kind string, objects ...metav1.Object) {
	s.t.Helper()
	prefix, resource, _ := strings.Cut(kinds[kind], " ")
	for _, object := range objects {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		require.NoError(s.t, err)
		content["kind"], content["apiVersion"] = strings.TrimPrefix(kind, "Native"), strings.TrimPrefix(strings.TrimPrefix(prefix, "/apis/"), "/api/")
		at := prefix
		if object.GetNamespace() != "" {
			at += "/namespaces/" + object.GetNamespace()
		}
		s.objects[at+"/"+resource+"/"+object.GetName()] = content
	}
}

func (s *stage) serve(w http.ResponseWriter, request *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	at := request.URL.Path
	s.mu.Lock()
	s.seen = append(s.seen, request.Method+" "+request.URL.RequestURI())
	if watch := request.URL.Query().Get("watch"); s.mayWatch && (watch == "true" || watch == "1") && !s.forbidden(request.Method, at) {
		events := make(chan map[string]any, 100)
		s.watchers[at] = append(s.watchers[at], events)
		s.mu.Unlock()
		s.stream(w, request, events)
		return
	} else if watch != "" {
		defer s.mu.Unlock()
		s.refuse(w, http.StatusForbidden, metav1.StatusReasonForbidden, "it is forbidden to watch: "+at)
		return
	}
	defer s.mu.Unlock()
	answer := func(code int, object any) {
		w.WriteHeader(code)
		if err := json.NewEncoder(w).Encode(object); err != nil {
			s.t.Error(err)
		}
	}
	fail := func(code int, reason metav1.StatusReason, message string) { s.refuse(w, code, reason, message) }
	if s.forbidden(request.Method, at) {
		fail(http.StatusForbidden, metav1.StatusReasonForbidden, "it is forbidden: "+at)
		return
	}
	object, found := s.objects[at]
	switch {
	case at == "/version":
		answer(http.StatusOK, map[string]string{"gitVersion": "v1.37.1", "major": "1", "minor": "37"})
	case request.Method == http.MethodPatch && found:
		body, err := io.ReadAll(request.Body)
		require.NoError(s.t, err)
		s.patches = append(s.patches, at+" "+string(body))
		var patch map[string]any
		require.NoError(s.t, json.Unmarshal(body, &patch))
		if request.URL.Query().Get("dryRun") == "" {
			merge(object, patch)
		}
		answer(http.StatusOK, object)
	case request.Method != http.MethodGet:
		fail(http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed, request.Method)
	case found:
		answer(http.StatusOK, object)
	default:
		s.list(request, answer, fail)
	}
}

func (s *stage) refuse(w http.ResponseWriter, code int, reason metav1.StatusReason, message string) {
	w.WriteHeader(code)
	status := metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: reason, Code: int32(code), Message: message}
	if err := json.NewEncoder(w).Encode(status); err != nil {
		s.t.Error(err)
	}
}

// stream is a watch.
func (s *stage) stream(w http.ResponseWriter, request *http.Request, events <-chan map[string]any) {
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	for {
		select {
		case <-request.Context().Done():
			return
		case event, more := <-events:
			if !more || json.NewEncoder(w).Encode(event) != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
	}
}

// tell tells those who watch its resource, in its namespace or in all, of an object, and waits until somebody does.
func (s *stage) tell(event, at string) {
	s.t.Helper()
	resource, names := path.Dir(at), regexp.MustCompile(`/namespaces/[^/]+/`)
	require.Eventually(s.t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		told := false
		for watched, watchers := range s.watchers {
			if watched != resource && watched != names.ReplaceAllString(resource, "/") {
				continue
			}
			for _, watcher := range watchers {
				watcher <- map[string]any{"type": event, "object": maps.Clone(s.objects[at])}
				told = true
			}
		}
		return told
	}, 10*time.Second, time.Millisecond)
}

// hangUp ends all watches.
func (s *stage) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, watchers := range s.watchers {
		for _, watcher := range watchers {
			close(watcher)
		}
		delete(s.watchers, at)
	}
}

func merge(object, patch map[string]any) {
	for key, value := range patch {
		below, isMap := value.(map[string]any)
		there, wasMap := object[key].(map[string]any)
		switch {
		case value == nil:
			delete(object, key)
		case isMap && wasMap:
			merge(there, below)
		default:
			object[key] = value
		}
	}
}

// list answers with all objects of a resource, in one namespace or in all. What no object has is not there.
func (s *stage) list(request *http.Request, answer func(int, any), fail func(int, metav1.StatusReason, string)) {
	at := request.URL.Path
	resource := path.Base(at)
	kind, version := "", ""
	for name, served := range kinds {
		if prefix, plural, _ := strings.Cut(served, " "); plural == resource && strings.HasPrefix(at, prefix+"/") {
			kind, version = name, strings.TrimPrefix(strings.TrimPrefix(prefix, "/apis/"), "/api/")
		}
	}
	items := []any{}
	for _, name := range slices.Sorted(maps.Keys(s.objects)) {
		of := path.Dir(name)
		all := path.Base(of) == resource && strings.HasPrefix(of, path.Dir(at)+"/namespaces/")
		if (of == at || all) && selected(s.objects[name], request.URL.Query().Get("fieldSelector")) {
			items = append(items, s.objects[name])
		}
	}
	if kind == "" || len(items) == 0 && strings.HasPrefix(at, "/apis/") {
		fail(http.StatusNotFound, metav1.StatusReasonNotFound, "the server could not find the requested resource")
		return
	}
	answer(http.StatusOK, map[string]any{"kind": strings.TrimPrefix(kind, "Native") + "List", "apiVersion": version, "metadata": map[string]any{"resourceVersion": "7"}, "items": items})
}

// selected understands the field selectors that are used.
func selected(object map[string]any, selector string) bool {
	field, value, _ := strings.Cut(selector, "=")
	if field == "" {
		return true
	}
	var at any = object
	for _, name := range strings.Split(field, ".") {
		below, _ := at.(map[string]any)
		at = below[name]
	}
	return fmt.Sprint(at) == value
}

// run runs a command against the stage.
func (s *stage) run(args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	kubeconfig := write(s.t, "kubeconfig", fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: stage, clusters: [{name: stage, cluster: {server: "%s"}}],
contexts: [{name: stage, context: {cluster: stage, namespace: etl-prod}}]}`, s.url))
	for i, arg := range args { // before what belongs to another program
		if arg == "--" {
			return call(slices.Insert(slices.Clone(args), i, "--kubeconfig", kubeconfig)...)
		}
	}
	return call(append(args, "--kubeconfig", kubeconfig)...)
}

// golden compares a text with a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := "testdata/" + name
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "see -update")
}

// minutes is so many minutes before it is two.
func minutes(before float64) metav1.Time {
	return metav1.NewTime(noon.Add(2*time.Hour - time.Duration(before*float64(time.Minute))))
}

// submitted is a Spark application as spark-submit makes it, that waits.
func (s *stage) submitted(namespace, name, user string, executors, cores int, before float64) *v1.Pod {
	s.t.Helper()
	objects, err := sparksim.Application{Name: name, Namespace: namespace, Properties: map[string]string{
		"spark.kubernetes.driver.pod.name": name + "-driver", "spark.app.id": "spark-" + name, "spark.kubernetes.scheduler.name": "retinue",
		"spark.kubernetes.driver.label.retinue.dev/user": user,
		"spark.executor.instances":                       fmt.Sprint(executors), "spark.executor.cores": fmt.Sprint(cores), "spark.executor.memory": "8g",
	}}.Objects(minutes(before).Time)
	require.NoError(s.t, err)
	driver := objects.Driver
	driver.UID, driver.CreationTimestamp, driver.Status.Phase = types.UID(name), minutes(before), v1.PodPending
	controller := true
	objects.Properties.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: driver.Name, UID: driver.UID, Controller: &controller}}
	s.add("ConfigMap", objects.Properties)
	s.add("Pod", driver)
	return driver
}

// says gives a pod that waits its condition, and the annotation that the scheduler writes with it.
func (s *stage) says(pod *v1.Pod, reason gang.Reason, text string, before float64, numbers ...gang.Number) {
	status := gang.NewStatus(gang.Verdict{Reason: reason, Message: text}, false, minutes(before).Time)
	status.Numbers = numbers
	metav1.SetMetaDataAnnotation(&pod.ObjectMeta, gang.AnnotationStatus, status.Encode())
	pod.Status.Conditions = []v1.PodCondition{{Type: v1.PodScheduled, Status: v1.ConditionFalse, Reason: reason.Condition(), Message: string(reason) + ": " + text, LastTransitionTime: minutes(before)}}
	s.add("Pod", pod)
	s.event(pod, "FailedScheduling", string(reason)+": "+text, before)
}

func (s *stage) event(pod *v1.Pod, reason, message string, before float64) {
	s.add("Event", &v1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: pod.Namespace, Name: fmt.Sprintf("%s.%s.%v", pod.Name, strings.ToLower(reason), before)},
		InvolvedObject: v1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}, Reason: reason, Message: message, LastTimestamp: minutes(before),
	})
}

// started gives it a node and its executors theirs, at a time; running of them run, and the others have not come.
func (s *stage) started(driver *v1.Pod, before float64, running int, nodes ...string) {
	s.t.Helper()
	run := func(pod *v1.Pod, node string, before float64) {
		at := minutes(before)
		pod.Spec.NodeName, pod.Status.Phase, pod.Status.StartTime = node, v1.PodRunning, &at
		pod.Status.Conditions = []v1.PodCondition{{Type: v1.PodScheduled, Status: v1.ConditionTrue, LastTransitionTime: at}, {Type: v1.PodReady, Status: v1.ConditionTrue, LastTransitionTime: minutes(before - 0.1)}}
	}
	refs := spark.ConfigMaps(driver)
	var properties v1.ConfigMap
	require.NoError(s.t, runtime.DefaultUnstructuredConverter.FromUnstructured(s.objects["/api/v1/namespaces/"+driver.Namespace+"/configmaps/"+refs.Properties], &properties))
	read, err := spark.PropertiesOf(&properties, driver)
	require.NoError(s.t, err)
	definition, err := spark.Infer(driver, read, nil)
	require.NoError(s.t, err)
	role := definition.Roles[0]
	written := reservation.Written{Roles: []reservation.Role{{Name: role.Name, Count: role.Count, Minimum: role.Minimum, Maximum: role.Maximum, Requests: role.Requests.List()}}}
	run(driver, nodes[0], before)
	controller := true
	for i := range role.Count {
		node := nodes[i%len(nodes)]
		written.Slots = append(written.Slots, reservation.Slots{Node: node, Count: 1})
		if i >= running {
			continue
		}
		executor := role.Pod.DeepCopy()
		executor.Namespace, executor.Name, executor.UID = driver.Namespace, fmt.Sprintf("%s-exec-%d", strings.TrimSuffix(driver.Name, "-driver"), i+1), types.UID(fmt.Sprint(driver.UID, i))
		executor.Labels[spark.LabelExecutorID] = fmt.Sprint(i + 1)
		executor.CreationTimestamp = minutes(before - 0.2)
		executor.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: driver.Name, UID: driver.UID, Controller: &controller}}
		run(executor, node, before-0.3-float64(i)/60)
		s.add("Pod", executor)
	}
	text, err := json.Marshal(written)
	require.NoError(s.t, err)
	packed, err := reservation.Pack(text)
	require.NoError(s.t, err)
	if driver.Annotations == nil {
		driver.Annotations = map[string]string{}
	}
	driver.Annotations[reservation.Annotation] = packed
	s.add("Pod", driver)
	s.event(driver, "GangAdmitted", fmt.Sprintf("the driver and %d executors have room", role.Count), before)
}

// amounts are "cpu=4,memory=8Gi".
func amountsIn(text string) v1.ResourceList {
	list := v1.ResourceList{}
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' }) {
		name, amount, _ := strings.Cut(part, "=")
		list[v1.ResourceName(name)] = apiresource.MustParse(amount)
	}
	return list
}

// queue makes one; its status is what the scheduler would write.
func (s *stage) queue(name, parent, guaranteed, limit, used string, change func(*v1alpha1.Queue)) {
	written := func(text string) v1alpha1.Amounts {
		amounts := v1alpha1.Amounts{}
		for name, quantity := range amountsIn(text) {
			amounts[name] = v1alpha1.Amount{Quantity: quantity}
		}
		return amounts
	}
	queue := &v1alpha1.Queue{ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1, CreationTimestamp: minutes(5000)}}
	queue.Spec.Parent, queue.Spec.Guaranteed, queue.Spec.Limit = parent, written(guaranteed), written(limit)
	queue.Status = v1alpha1.QueueStatus{ObservedGeneration: 1, Used: amountsIn(used), Guaranteed: amountsIn(guaranteed), Borrowed: v1.ResourceList{}}
	for resource, amount := range queue.Status.Used {
		if more := amount.DeepCopy(); true {
			if more.Sub(queue.Status.Guaranteed[resource]); more.Sign() > 0 {
				queue.Status.Borrowed[resource] = more
			}
		}
	}
	queue.Status.FairShare = queue.Status.Guaranteed
	if change != nil {
		change(queue)
	}
	s.add("Queue", queue)
}

// afternoon is a cluster with some queues and applications.
func afternoon(t *testing.T) *stage {
	t.Helper()
	s := newStage(t)
	for name, team := range map[string]string{"etl-prod": "etl", "adhoc": "adhoc", "ml-prod": "ml", "web-prod": "web", "kube-system": ""} {
		s.add("Namespace", &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"team": team}}})
	}
	for i := range 6 {
		allocatable := amountsIn("cpu=16,memory=64Gi,pods=110")
		s.add("Node", &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%d", i+1)}, Status: v1.NodeStatus{Allocatable: allocatable, Capacity: allocatable}})
	}
	s.started(s.submitted("etl-prod", "daily-orders", "ann", 4, 4, 31.2), 31, 4, "node-1", "node-2")
	s.started(s.submitted("etl-prod", "sessions-join", "kim", 4, 4, 20), 15.5, 3, "node-3", "node-5")
	s.says(s.submitted("etl-prod", "clickstream", "bob", 3, 4, 4.2), gang.QueueLimit, "queue etl holds cpu 34 of at most 40, and 13 more is asked for; 7 too much", 4.1,
		gang.Number{Resource: "cpu", Need: "13", Used: "34", Limit: "40", Short: "7"})
	s.started(s.submitted("adhoc", "notebook", "eva", 3, 4, 12), 12, 3, "node-4")
	s.says(s.submitted("adhoc", "giant", "tom", 100, 4, 65), gang.NeverFitsCluster, "24 of 100 executors fit: cpu 400 asked for in all, 96 free on 6 nodes of the empty cluster", 64.9,
		gang.Number{Resource: "cpu", Need: "400", Free: "96", Short: "304"})
	s.add("PodGroup", &schedulingv1alpha1.PodGroup{ObjectMeta: metav1.ObjectMeta{Namespace: "web-prod", Name: "render"}, Spec: schedulingv1alpha1.PodGroupSpec{MinMember: 3}})
	for i := range 2 {
		pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "web-prod", Name: fmt.Sprintf("render-%d", i), UID: types.UID(fmt.Sprint("render", i)), CreationTimestamp: minutes(2),
			Labels: map[string]string{schedulingv1alpha1.PodGroupLabel: "render"}},
			Spec:   v1.PodSpec{SchedulerName: "retinue", Containers: []v1.Container{{Name: "main", Resources: v1.ResourceRequirements{Requests: amountsIn("cpu=2,memory=4Gi")}}}},
			Status: v1.PodStatus{Phase: v1.PodPending}}
		s.says(pod, gang.GangIncomplete, "2 of 3 pods of PodGroup render are there", 1.5)
	}
	named := func(names ...string) func(*v1alpha1.Queue) {
		return func(q *v1alpha1.Queue) { q.Spec.Namespaces = names }
	}
	waits := func(q *v1alpha1.Queue, running int64, waiters ...v1alpha1.QueueWaiter) {
		q.Status.Running, q.Status.Waiting = running, int64(len(waiters))
		if q.Status.Waiters = waiters; len(waiters) > 0 {
			q.Status.TopReason = waiters[0].Reason
		}
	}
	clickstream := v1alpha1.QueueWaiter{Namespace: "etl-prod", Name: "clickstream-driver", Reason: "QueueLimit"}
	giant := v1alpha1.QueueWaiter{Namespace: "adhoc", Name: "giant-driver", Reason: "NeverFitsCluster"}
	s.queue("data", "", "cpu=50,memory=200Gi", "", "cpu=47,memory=103345Mi", func(q *v1alpha1.Queue) {
		q.Status.Running, q.Status.Waiting, q.Status.TopReason = 3, 2, "NeverFitsCluster"
	})
	s.queue("etl", "data", "cpu=30,memory=100Gi", "cpu=40,memory=200Gi", "cpu=34,memory=74904Mi", func(q *v1alpha1.Queue) { named("etl-prod")(q); waits(q, 2, clickstream) })
	s.queue("adhoc", "data", "cpu=10,memory=60Gi", "", "cpu=13,memory=28441Mi", func(q *v1alpha1.Queue) { named("adhoc")(q); waits(q, 1, giant) })
	s.queue("ml", "data", "cpu=10,memory=40Gi", "cpu=60", "cpu=0,memory=0", func(q *v1alpha1.Queue) {
		q.Spec.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "ml"}}
		q.Spec.State = v1alpha1.Draining
	})
	s.queue("web", "", "cpu=40", "", "cpu=0", func(q *v1alpha1.Queue) {
		named("web-prod")(q)
		waits(q, 0, v1alpha1.QueueWaiter{Namespace: "web-prod", Name: "render-0", Reason: "GangIncomplete"})
	})
	return s
}
