package sim

import (
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

// source is where a driver's gang can be read from.
type source int

const (
	fromProperties source = iota
	fromAnnotation
	fromNothing
)

// labelPool is a node label that some executors select; taintDedicated keeps everybody off who does not tolerate it.
const (
	labelPool      = "pool"
	labelZone      = v1.LabelTopologyZone
	taintDedicated = "dedicated"
)

// mapSuffix and templateSuffix make the names of a driver's ConfigMaps.
const (
	mapSuffix      = "-conf-map"
	templateSuffix = "-podspec"
)

// size is what one pod asks for.
type size struct {
	cpu    int64 // millicores
	memory int64 // MiB
}

func (s size) list() v1.ResourceList {
	return v1.ResourceList{
		v1.ResourceCPU:    *apiresource.NewMilliQuantity(s.cpu, apiresource.DecimalSI),
		v1.ResourceMemory: *apiresource.NewQuantity(s.memory<<20, apiresource.BinarySI),
	}
}

func (s size) vector() resource.Vector {
	return resource.Vector{CPU: s.cpu, Memory: s.memory << 20, Pods: 1}
}

// plan is what an application is like: what its user wrote, and in what its executors differ from that.
type plan struct {
	source           source
	driver, executor size
	// count is how many executors it asks for at its start; minimum and maximum bound them later.
	count, minimum, maximum int
	dynamic                 bool
	priority                int32
	pool                    string // node label that executors select; empty means any
	tolerates               bool   // executors tolerate taintDedicated
	stateful                bool   // executors come from a StatefulSet
	lifetime                time.Duration

	mapDelay                 time.Duration
	missing, broken, foreign bool

	// actual is what executors really ask for; wants how many there really are at the start.
	actual size
	wants  int
	// pinned is a node label value that executors select although nobody said so; empty means none.
	pinned string
	// strangers are executors of another resource profile.
	strangers int
}

func (w *World) drawPlan() plan {
	c := w.chance
	p := plan{
		driver:   size{pick[int64](c, 250, 500, 1000, 1000, 2000), pick[int64](c, 512, 1024, 2048)},
		executor: size{pick[int64](c, 500, 1000, 1500, 2000, 3000), pick[int64](c, 512, 1024, 2048, 4096)},
		count:    c.number(0, 6),
		lifetime: c.delay(40*time.Second, 10*time.Minute),
		mapDelay: c.delay(100*time.Millisecond, time.Second),
	}
	if c.happens(0.05) {
		p.count = c.number(6, 20)
	}
	switch n := c.IntN(100); {
	case n < 15:
		p.source = fromAnnotation
	case n < 20:
		p.source = fromNothing
		p.count = 0
	}
	p.minimum, p.maximum = p.count, p.count
	if p.source != fromNothing && c.happens(0.3) {
		p.dynamic = true
		p.minimum = c.number(0, p.count)
		p.maximum = max(1, p.count+c.number(0, 4))
	}
	if c.happens(0.2) {
		p.priority = pick[int32](c, -5, 10, 100)
	}
	if p.source != fromNothing && w.climate.pools && c.happens(0.2) {
		p.pool = pick(c, "blue", "green")
	}
	if p.source != fromNothing && w.climate.dedicated && c.happens(0.3) {
		p.tolerates = true
	}
	p.stateful = c.happens(0.15)
	p.actual, p.wants = p.executor, p.count
	w.drawDeviation(&p)
	return p
}

// drawDeviation makes an application different from what its user wrote.
func (w *World) drawDeviation(p *plan) {
	c := w.chance
	if w.strikes(MapLate, 0.2) {
		p.mapDelay = c.between(time.Second, 2*time.Minute)
	}
	p.broken = p.source != fromNothing && w.strikes(MapBroken, 0.1)
	if p.source == fromProperties {
		p.missing = w.strikes(MapMissing, 0.1)
		p.foreign = w.strikes(MapForeign, 0.1)
	}
	if p.count > 0 && w.strikes(ExecutorsLarger, 0.15) {
		p.actual = size{p.executor.cpu + pick[int64](c, 0, 500, 1000), p.executor.memory + pick[int64](c, 0, 512, 2048)}
	}
	if p.count > 0 && w.strikes(ExecutorsFewer, 0.15) {
		p.wants = c.number(0, p.count)
	}
	if w.climate.pools && p.pool == "" && w.strikes(ExecutorsPinned, 0.15) {
		p.pinned = pick(c, "blue", "green")
	}
	if p.source != fromNothing && w.strikes(ExecutorsForeign, 0.1) {
		p.strangers = c.number(1, 3)
	}
}

// driverPod is what spark-submit creates.
func (p plan) driverPod(namespace, name, id string) *v1.Pod {
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{
			spark.LabelRole: spark.RoleDriver, spark.LabelApp: id, spark.LabelVersion: "4.0.0",
		}},
		Spec: v1.PodSpec{
			SchedulerName: schedulerName, Priority: &p.priority,
			Containers: []v1.Container{{Name: spark.DriverContainer, Resources: v1.ResourceRequirements{Requests: p.driver.list()}}},
		},
	}
	mount := func(volume, configMap string) {
		pod.Spec.Volumes = append(pod.Spec.Volumes, v1.Volume{Name: volume, VolumeSource: v1.VolumeSource{
			ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: configMap}},
		}})
	}
	switch p.source {
	case fromProperties:
		mount("spark-conf-volume-driver", name+mapSuffix)
		if p.tolerates {
			mount("pod-template-volume", name+templateSuffix)
		}
	case fromAnnotation:
		pod.Annotations = map[string]string{spark.AnnotationRoles: p.annotation()}
	}
	return pod
}

// annotation is the gang as a user writes it onto the driver.
func (p plan) annotation() string {
	if p.broken {
		return "[{name: executor, count: many}]"
	}
	var extra strings.Builder
	if p.dynamic {
		fmt.Fprintf(&extra, ", minimum: %d, maximum: %d", p.minimum, p.maximum)
	}
	if p.pool != "" {
		fmt.Fprintf(&extra, ", nodeSelector: {%s: %s}", labelPool, p.pool)
	}
	if p.tolerates {
		fmt.Fprintf(&extra, ", tolerations: [{key: %s, operator: Exists}]", taintDedicated)
	}
	return fmt.Sprintf("[{name: executor, count: %d, requests: {cpu: %dm, memory: %dMi}%s}]", p.count, p.executor.cpu, p.executor.memory, &extra)
}

// properties is the driver's spark.properties.
func (p plan) properties() string {
	if p.broken {
		return "spark.executor.instances=many\n"
	}
	lines := []string{
		"spark.executor.memoryOverhead=256m",
		fmt.Sprintf("spark.executor.memory=%dm", p.executor.memory-256),
		fmt.Sprintf("spark.kubernetes.executor.request.cores=%dm", p.executor.cpu),
		"spark.kubernetes.scheduler.name=" + schedulerName,
	}
	if p.dynamic {
		lines = append(lines, "spark.dynamicAllocation.enabled=true",
			fmt.Sprintf("spark.dynamicAllocation.initialExecutors=%d", p.count),
			fmt.Sprintf("spark.dynamicAllocation.minExecutors=%d", p.minimum),
			fmt.Sprintf("spark.dynamicAllocation.maxExecutors=%d", p.maximum))
	} else {
		lines = append(lines, fmt.Sprintf("spark.executor.instances=%d", p.count))
	}
	if p.pool != "" {
		lines = append(lines, fmt.Sprintf("spark.kubernetes.executor.node.selector.%s=%s", labelPool, p.pool))
	}
	return strings.Join(lines, "\n") + "\n"
}

// template is the executors' pod template.
func (p plan) template() string {
	return "spec:\n  tolerations:\n  - {key: " + taintDedicated + ", operator: Exists}\n"
}

// executorPod is what the driver, or a StatefulSet in its name, creates.
func (p plan) executorPod(driver *v1.Pod, name, id string, stranger bool) *v1.Pod {
	asks, profile := p.actual, "0"
	if stranger {
		asks, profile = size{p.actual.cpu + 700, p.actual.memory + 300}, "1"
	}
	controller := true
	owner := metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: driver.Name, UID: driver.UID, Controller: &controller}
	if p.stateful {
		owner = metav1.OwnerReference{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "spark-s-" + id, UID: "set-" + driver.UID, Controller: &controller}
	}
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: driver.Namespace, Name: name, OwnerReferences: []metav1.OwnerReference{owner}, Labels: map[string]string{
			spark.LabelRole: spark.RoleExecutor, spark.LabelApp: id, spark.LabelResourceProfile: profile,
		}},
		Spec: v1.PodSpec{
			SchedulerName: schedulerName, Priority: &p.priority,
			Containers: []v1.Container{{Name: spark.ExecutorContainer, Resources: v1.ResourceRequirements{Requests: asks.list()}}},
		},
	}
	if selected := p.pool + p.pinned; selected != "" {
		pod.Spec.NodeSelector = map[string]string{labelPool: selected}
	}
	if p.tolerates {
		pod.Spec.Tolerations = []v1.Toleration{{Key: taintDedicated, Operator: v1.TolerationOpExists}}
	}
	return pod
}
