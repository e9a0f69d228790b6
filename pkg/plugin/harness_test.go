package plugin

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler"
	schedulerapi "k8s.io/kubernetes/pkg/scheduler/apis/config"
	backend "k8s.io/kubernetes/pkg/scheduler/backend/cache"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/defaultbinder"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/names"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodevolumelimits"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
	"k8s.io/kubernetes/pkg/scheduler/metrics"
	testframework "k8s.io/kubernetes/pkg/scheduler/testing/framework"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"retinue.dev/retinue/pkg/spark"
)

const profile = "retinue"

// harness is the plugin in the framework's own runtime, with real informers on a fake API server, in a bubble in which
// time passes only when everybody waits.
type harness struct {
	t      testing.TB
	ctx    context.Context
	stop   func()
	client *fake.Clientset
	fw     framework.Framework
	plugin *Plugin
	nodes  *snapshot
	// stale means that the framework's view of the cluster stays as it is.
	stale  bool
	events *events.FakeRecorder
	log    *buffer
	// process is what the plugin is told of the process it is in.
	process Process
	// dra turns dynamic resource allocation on if it is anything.
	dra fwk.SharedDRAManager
	// factory makes the informers; one that is asked for late has to be started.
	factory informers.SharedInformerFactory

	fwk.PodNominator // methods that are not overridden panic

	mu        sync.Mutex // guards everything below
	activated []string   // names, in order
	forgotten []string   // names, in order
}

// snapshot is the framework's view of nodes, made anew for every cycle.
type snapshot struct {
	fwk.MutableSnapshotSharedLister
}

// buffer is a bytes.Buffer that several goroutines may write.
type buffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// Activate notes who is woken.
func (h *harness) Activate(_ klog.Logger, pods map[string]*v1.Pod) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for _, pod := range pods {
		names = append(names, pod.Name)
	}
	slices.Sort(names)
	h.activated = append(h.activated, names...)
}

// NominatedPodsForNode knows of none: the harness does not keep what PostFilter nominates.
func (h *harness) NominatedPodsForNode(string) []fwk.PodInfo { return nil }

// DeleteNominatedPodIfExists notes whose nomination is forgotten.
func (h *harness) DeleteNominatedPodIfExists(pod *v1.Pod) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forgotten = append(h.forgotten, pod.Name)
}

// woken returns who has been woken since it was last asked.
func (h *harness) woken() []string {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	woken := h.activated
	h.activated = nil
	return woken
}

// told returns the events recorded since it was last asked.
func (h *harness) told() []string {
	synctest.Wait()
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

// bubble runs a test of the plugin, with no filter but its own, with these objects in the cluster.
func bubble(t *testing.T, args string, objects []runtime.Object, test func(*harness)) {
	bubbleWith(t, nil, args, objects, test)
}

// filtersInTree are the plugins that kube-scheduler filters with.
var filtersInTree = []string{
	names.NodeUnschedulable, names.NodeName, names.TaintToleration, names.NodeAffinity, names.NodePorts, names.NodeResourcesFit,
	names.VolumeRestrictions, names.NodeVolumeLimits, names.VolumeBinding, names.VolumeZone, names.PodTopologySpread, names.InterPodAffinity,
}

// filtered runs a test of the plugin together with kube-scheduler's own filters.
func filtered(t *testing.T, args string, objects []runtime.Object, test func(*harness)) {
	bubbleWith(t, filtersInTree, args, objects, test)
}

func bubbleWith(t *testing.T, inTree []string, args string, objects []runtime.Object, test func(*harness), set ...func(*harness)) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, inTree, args, objects, set...)
		defer h.stop()
		h.after(time.Second) // the plugin looks ten times a second whether everything has been read
		test(h)
	})
}

// newHarness starts the plugin; outside of a bubble too, for what must not be measured by a clock that stands still.
func newHarness(t testing.TB, inTree []string, args string, objects []runtime.Object, set ...func(*harness)) *harness {
	metrics.Register()
	ctx, cancel := context.WithCancel(t.Context())
	h := &harness{t: t, client: fake.NewClientset(objects...), nodes: &snapshot{}, events: events.NewFakeRecorder(1000), log: &buffer{}}
	for _, set := range set {
		set(h)
	}
	verbosity := 10
	if _, measured := t.(*testing.B); measured {
		verbosity = 2
	}
	h.client.PrependReactor("create", "pods", h.bindings)
	logger := textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(h.log), textlogger.Verbosity(verbosity)))
	h.ctx = klog.NewContext(ctx, logger)
	factory := scheduler.NewInformerFactory(h.client, 0, nil)

	configuration := &schedulerapi.KubeSchedulerProfile{SchedulerName: profile, Plugins: &schedulerapi.Plugins{}}
	if args != "" {
		configuration.PluginConfig = []schedulerapi.PluginConfig{{Name: Name, Args: &runtime.Unknown{Raw: []byte(args)}}}
	}
	registry := frameworkruntime.Registry{}
	make := func(ctx context.Context, args runtime.Object, handle fwk.Handle) (fwk.Plugin, error) {
		made, err := Factory(clock.RealClock{}, h.process)(ctx, args, handle)
		if err == nil {
			h.plugin = made.(*Plugin)
		}
		return made, err
	}
	for _, register := range []testframework.RegisterPluginFunc{
		testframework.RegisterPluginAsExtensions(Name, make, "QueueSort", "PreEnqueue", "PreFilter", "Filter", "PostFilter", "Score", "Reserve", "Permit", "Bind", "PostBind"),
		testframework.RegisterBindPlugin(names.DefaultBinder, defaultbinder.New),
	} {
		register(&registry, configuration)
	}
	for _, name := range inTree {
		points := []string{"Filter"}
		if !slices.Contains([]string{names.NodeUnschedulable, names.NodeName, names.TaintToleration}, name) {
			points = append(points, "PreFilter")
		}
		testframework.RegisterPluginAsExtensions(name, plugins.NewInTreeRegistry()[name], points...)(&registry, configuration)
	}
	fw, err := frameworkruntime.NewFramework(h.ctx, registry, configuration,
		frameworkruntime.WithClientSet(h.client), frameworkruntime.WithInformerFactory(factory), frameworkruntime.WithEventRecorder(h.events),
		frameworkruntime.WithSnapshotSharedLister(h.nodes), frameworkruntime.WithMutableSnapshotLister(h.nodes),
		frameworkruntime.WithSharedDRAManager(h.dra), frameworkruntime.WithSharedCSIManager(nodevolumelimits.NewCSIManager(factory.Storage().V1().CSINodes().Lister())),
		frameworkruntime.WithPodActivator(h), frameworkruntime.WithPodNominator(h), frameworkruntime.WithWaitingPods(frameworkruntime.NewWaitingPodsMap()), frameworkruntime.WithPodsInPreBind(frameworkruntime.NewPodsInPreBindMap()), frameworkruntime.WithLogger(logger))
	require.NoError(t, err)
	h.fw, h.factory = fw, factory
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	h.stop = func() {
		cancel()
		factory.Shutdown()
	}
	return h
}

// after lets time pass.
func (h *harness) after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// bindings gives pods their nodes as the API server does, which merges a binding's annotations into the pod.
func (h *harness) bindings(action clienttesting.Action) (handled bool, _ runtime.Object, err error) {
	create, ok := action.(clienttesting.CreateAction)
	if !ok || create.GetSubresource() != "binding" {
		return false, nil, nil
	}
	binding := create.GetObject().(*v1.Binding)
	object, err := h.client.Tracker().Get(create.GetResource(), create.GetNamespace(), binding.Name)
	if err != nil {
		return true, nil, err
	}
	bound := object.(*v1.Pod).DeepCopy()
	bound.Spec.NodeName = binding.Target.Name
	for key, value := range binding.Annotations {
		metav1.SetMetaDataAnnotation(&bound.ObjectMeta, key, value)
	}
	return true, nil, h.client.Tracker().Update(create.GetResource(), bound, create.GetNamespace())
}

// attempt is what became of one try of a pod.
type attempt struct {
	state  fwk.CycleState
	node   string
	status *fwk.Status // why it failed; nil if it did not
	point  string      // the extension point where it did
	tried  []string    // the nodes it was filtered on
	// nominated is the node that PostFilter has named, said its message, and own what kube-scheduler would say.
	nominated, said, own string
}

// look makes the framework's view of the cluster the present one.
func (h *harness) look() []fwk.NodeInfo {
	synctest.Wait()
	pods, err := h.client.CoreV1().Pods("").List(h.ctx, metav1.ListOptions{})
	require.NoError(h.t, err)
	nodes, err := h.client.CoreV1().Nodes().List(h.ctx, metav1.ListOptions{})
	require.NoError(h.t, err)
	var bound []*v1.Pod
	for i := range pods.Items {
		if pod := &pods.Items[i]; pod.Spec.NodeName != "" && pod.Status.Phase != v1.PodSucceeded && pod.Status.Phase != v1.PodFailed {
			bound = append(bound, pod)
		}
	}
	var existing []*v1.Node
	for i := range nodes.Items {
		existing = append(existing, &nodes.Items[i])
	}
	if !h.stale {
		h.nodes.MutableSnapshotSharedLister = backend.NewSnapshot(bound, existing)
	}
	infos, err := h.nodes.NodeInfos().List()
	require.NoError(h.t, err)
	slices.SortFunc(infos, func(a, b fwk.NodeInfo) int { return strings.Compare(a.Node().Name, b.Node().Name) })
	return infos
}

// reserve runs a scheduling cycle up to Reserve; of nodes that all filters pass it takes the one with the best score.
func (h *harness) reserve(name string) attempt {
	pod := h.pod(name)
	a := attempt{state: framework.NewCycleState(), point: "PreEnqueue"}
	if a.status = h.plugin.PreEnqueue(h.ctx, pod); !a.status.IsSuccess() {
		return a
	}
	h.cycle(&a, pod)
	return a
}

// cycle runs a scheduling cycle from PreFilter up to Reserve.
func (h *harness) cycle(a *attempt, pod *v1.Pod) {
	infos := h.look()
	a.point = "PreFilter"
	result, status, _ := h.fw.RunPreFilterPlugins(h.ctx, a.state, pod)
	statuses := framework.NewDefaultNodeToStatus()
	if a.status = status; !status.IsSuccess() {
		if status.Code() != fwk.Error {
			statuses.SetAbsentNodesStatus(status)
			h.postFilter(a, pod, statuses)
		}
		return
	}
	a.point = "Filter"
	var feasible []fwk.NodeInfo
	for _, info := range infos {
		if result != nil && !result.AllNodes() && !result.NodeNames.Has(info.Node().Name) {
			continue
		}
		a.tried = append(a.tried, info.Node().Name)
		if status := h.fw.RunFilterPlugins(h.ctx, a.state, pod, info); status.IsSuccess() {
			feasible = append(feasible, info)
		} else {
			statuses.Set(info.Node().Name, status)
			a.status = status
		}
	}
	if len(feasible) == 0 {
		h.postFilter(a, pod, statuses)
		if result != nil && !result.AllNodes() {
			statuses.SetAbsentNodesStatus(fwk.NewStatus(fwk.UnschedulableAndUnresolvable, "node(s) "+unnamed))
		}
		a.own = (&framework.FitError{Pod: pod, NumAllNodes: len(infos), Diagnosis: framework.Diagnosis{NodeToStatus: statuses, PostFilterMsg: a.said}}).Error()
		return
	}
	scores, status := h.fw.RunScorePlugins(h.ctx, a.state, pod, feasible)
	require.True(h.t, status.IsSuccess(), "%v", status)
	best := slices.MaxFunc(scores, func(x, y fwk.NodePluginScores) int { return int(x.TotalScore - y.TotalScore) })
	a.node, a.point = best.Name, "Reserve"
	a.status = h.fw.RunReservePluginsReserve(h.ctx, a.state, pod, a.node)
}

// postFilter is what follows a failed attempt, except in the cycle of a native PodGroup.
func (h *harness) postFilter(a *attempt, pod *v1.Pod, statuses fwk.NodeToStatusReader) {
	if a.state.IsPodGroupSchedulingCycle() {
		return
	}
	result, status := h.fw.RunPostFilterPlugins(h.ctx, a.state, pod, statuses)
	if a.said = status.Message(); result != nil && result.NominatingInfo != nil {
		a.nominated = result.NominatedNodeName
	}
}

// schedule runs a whole scheduling cycle and binds the pod.
func (h *harness) schedule(name string) attempt {
	a := h.reserve(name)
	if !a.status.IsSuccess() || a.node == "" {
		return a
	}
	if h.permit(name, &a); a.status.IsSuccess() {
		h.bind(name, &a)
	}
	synctest.Wait()
	return a
}

// hold runs a scheduling cycle and leaves the pod to its binding cycle, which goes on when its gang does.
func (h *harness) hold(name string) *attempt {
	a := h.reserve(name)
	if !a.status.IsSuccess() || a.node == "" {
		return &a
	}
	h.await(name, &a)
	return &a
}

// await is all that follows Reserve.
func (h *harness) await(name string, a *attempt) {
	if h.permit(name, a); !a.status.IsWait() && !a.status.IsSuccess() {
		return
	}
	go func() {
		pod := h.pod(name)
		if a.status = h.fw.WaitOnPermit(h.ctx, pod); !a.status.IsSuccess() {
			h.fw.RunReservePluginsUnreserve(h.ctx, a.state, pod, a.node)
			return
		}
		h.bind(name, a)
	}()
	synctest.Wait()
}

// permit is the end of a scheduling cycle.
func (h *harness) permit(name string, a *attempt) {
	pod := h.pod(name)
	a.point = "Permit"
	var waits map[string]time.Duration
	switch waits, a.status = h.fw.RunPermitPlugins(h.ctx, a.state, pod, a.node); {
	case a.status.IsWait():
		h.fw.AddWaitingPod(pod, waits)
	case !a.status.IsSuccess():
		h.fw.RunReservePluginsUnreserve(h.ctx, a.state, pod, a.node)
	}
}

// bind is a binding cycle.
func (h *harness) bind(name string, a *attempt) {
	pod := h.pod(name)
	a.point, a.status = "Bind", h.fw.RunBindPlugins(h.ctx, a.state, pod, a.node)
	if !a.status.IsSuccess() {
		h.fw.RunReservePluginsUnreserve(h.ctx, a.state, pod, a.node)
		return
	}
	h.fw.RunPostBindPlugins(h.ctx, a.state, pod, a.node)
}

func (h *harness) pod(name string) *v1.Pod {
	pod, err := h.client.CoreV1().Pods("ns").Get(h.ctx, name, metav1.GetOptions{})
	require.NoError(h.t, err)
	return pod
}

func (h *harness) create(objects ...runtime.Object) {
	for _, object := range objects {
		var err error
		switch object := object.(type) {
		case *v1.Pod:
			_, err = h.client.CoreV1().Pods(object.Namespace).Create(h.ctx, object, metav1.CreateOptions{})
		case *v1.Node:
			_, err = h.client.CoreV1().Nodes().Create(h.ctx, object, metav1.CreateOptions{})
		case *v1.ConfigMap:
			_, err = h.client.CoreV1().ConfigMaps(object.Namespace).Create(h.ctx, object, metav1.CreateOptions{})
		case *v1.Service:
			_, err = h.client.CoreV1().Services(object.Namespace).Create(h.ctx, object, metav1.CreateOptions{})
		case *schedulingv1beta1.PodGroup:
			_, err = h.client.SchedulingV1beta1().PodGroups(object.Namespace).Create(h.ctx, object, metav1.CreateOptions{})
		case *v1.PersistentVolumeClaim:
			_, err = h.client.CoreV1().PersistentVolumeClaims(object.Namespace).Create(h.ctx, object, metav1.CreateOptions{})
		case *v1.PersistentVolume:
			_, err = h.client.CoreV1().PersistentVolumes().Create(h.ctx, object, metav1.CreateOptions{})
		default:
			err = fmt.Errorf("%T", object)
		}
		require.NoError(h.t, err)
	}
	synctest.Wait()
}

func (h *harness) update(pod *v1.Pod) {
	_, err := h.client.CoreV1().Pods(pod.Namespace).Update(h.ctx, pod, metav1.UpdateOptions{})
	require.NoError(h.t, err)
	synctest.Wait()
}

func (h *harness) remove(name string) {
	require.NoError(h.t, h.client.CoreV1().Pods("ns").Delete(h.ctx, name, metav1.DeleteOptions{}))
	synctest.Wait()
}

// condition is the message of a pod's PodScheduled condition.
func (h *harness) condition(name string) string {
	synctest.Wait()
	for _, condition := range h.pod(name).Status.Conditions {
		if condition.Type == v1.PodScheduled {
			return condition.Message
		}
	}
	return ""
}

func node(name string, cpu int) *v1.Node {
	return &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)},
		Status: v1.NodeStatus{Allocatable: v1.ResourceList{
			v1.ResourceCPU: *apiresource.NewQuantity(int64(cpu), apiresource.DecimalSI), v1.ResourceMemory: apiresource.MustParse("1000Gi"), v1.ResourcePods: apiresource.MustParse("110"),
		}},
	}
}

func lone(name string, cpu int) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name + "-uid")},
		Spec: v1.PodSpec{SchedulerName: profile, Containers: []v1.Container{{
			Name: "main", Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: *apiresource.NewQuantity(int64(cpu), apiresource.DecimalSI)}},
		}}},
	}
}

func on(node string, pod *v1.Pod) *v1.Pod {
	pod.Spec.NodeName = node
	return pod
}

// driver is a driver of the application of its own name, as spark-submit makes it.
// daemon is a pod of a DaemonSet, which another scheduler has placed.
func daemon(name string, cpu int) *v1.Pod {
	pod := lone(name, cpu)
	pod.Spec.SchedulerName = v1.DefaultSchedulerName
	pod.OwnerReferences = []metav1.OwnerReference{{Kind: "DaemonSet", Name: "agent", Controller: ptr.To(true)}}
	return pod
}

func driver(name string) *v1.Pod {
	pod := lone(name, 1)
	pod.Labels = map[string]string{spark.LabelRole: spark.RoleDriver, spark.LabelApp: name, spark.LabelVersion: "4.1.0"}
	pod.Spec.Volumes = []v1.Volume{{Name: "spark-conf-volume-driver", VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{
		LocalObjectReference: v1.LocalObjectReference{Name: name + "-conf"},
	}}}}
	return pod
}

// properties is the ConfigMap of a driver.
func properties(driver *v1.Pod, lines ...string) *v1.ConfigMap {
	return &v1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: driver.Namespace, Name: driver.Name + "-conf", OwnerReferences: []metav1.OwnerReference{{Kind: "Pod", Name: driver.Name, UID: driver.UID}}},
		Data:       map[string]string{"spark.properties": strings.Join(lines, "\n") + "\n"},
	}
}

// executors is the properties of an application with so many executors of so many cores.
func executors(count, cores int) []string {
	return []string{"spark.kubernetes.scheduler.name=" + profile, fmt.Sprint("spark.executor.instances=", count), fmt.Sprint("spark.executor.cores=", cores), "spark.executor.memory=1g"}
}

func executor(name, driver string, cpu int) *v1.Pod {
	pod := lone(name, cpu)
	pod.Labels = map[string]string{spark.LabelRole: spark.RoleExecutor, spark.LabelApp: driver, spark.LabelExecutorID: "1", spark.LabelResourceProfile: "0"}
	pod.Spec.Containers[0].Resources.Requests[v1.ResourceMemory] = apiresource.MustParse("1408Mi")
	yes := true
	pod.OwnerReferences = []metav1.OwnerReference{{Kind: "Pod", Name: driver, UID: types.UID(driver + "-uid"), Controller: &yes}}
	return pod
}

// submit creates a driver and its ConfigMap, in this order, as Spark does.
func (h *harness) submit(name string, count, cores int) {
	pod := driver(name)
	h.create(pod)
	h.create(properties(pod, executors(count, cores)...))
	h.after(time.Second) // a retry of the definer
}
