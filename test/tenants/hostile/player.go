// Package hostile is somebody in a namespace of its own who does everything that could stop, rob or blind others.
package hostile

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"retinue.dev/retinue/pkg/plugin"
	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/test/sparksim"
)

// Player is who may create and patch pods, ConfigMaps and PodGroups in one namespace, and nothing else.
type Player struct {
	// Client of an account that may do that.
	Client    kubernetes.Interface
	Namespace string
	// Chance draws what differs from object to object.
	Chance *rand.Rand
	// Failed is told of every answer of the API server but yes and that something is forbidden, wrong or gone.
	Failed func(error)

	// Kinds is what the names of its objects begin with: name -> true.
	Kinds map[string]bool
	// Made counts objects, Bytes is how long they are as Kubernetes encodes them, and Refused how many the API server has refused.
	Made, Bytes, Refused int

	serial int
}

// New is a player that has made nothing yet.
func New(client kubernetes.Interface, namespace string, seed uint64, failed func(error)) *Player {
	return &Player{Client: client, Namespace: namespace, Chance: rand.New(rand.NewPCG(seed, 0)), Failed: failed, Kinds: map[string]bool{}}
}

// Tricks are the names of what it may try, sorted.
func Tricks() []string { return slices.Sorted(maps.Keys(tricks)) }

// Play tries something.
func (m *Player) Play(trick string) { tricks[trick](m) }

// PlayAny tries anything.
func (m *Player) PlayAny() {
	names := Tricks()
	m.Play(names[m.Chance.IntN(len(names))])
}

// must counts an object, and tells whether the API server has taken it.
func (m *Player) must(err error) bool {
	m.Made++
	switch {
	case err == nil:
		return true
	case apierrors.IsInvalid(err), apierrors.IsForbidden(err), apierrors.IsNotFound(err), apierrors.IsConflict(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err), apierrors.IsAlreadyExists(err):
		m.Refused++
	default:
		m.Failed(fmt.Errorf("hostile object: %w", err))
	}
	return false
}

func (m *Player) name(what string) string {
	m.serial++
	m.Kinds[what] = true
	return fmt.Sprintf("%s-%d", what, m.serial)
}

func (m *Player) pod(what, cpu string, change func(*v1.Pod)) *v1.Pod {
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: m.name(what)},
		Spec: v1.PodSpec{SchedulerName: "retinue", Containers: []v1.Container{{Name: "main", Image: "hostile", Resources: v1.ResourceRequirements{
			Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu)},
		}}}},
	}
	change(pod)
	m.Bytes += pod.Size()
	created, err := m.Client.CoreV1().Pods(m.Namespace).Create(context.Background(), pod, metav1.CreateOptions{})
	if !m.must(err) {
		return nil
	}
	return created
}

// annotated is a pod that leads workers as an annotation says.
func (m *Player) annotated(what, key, value string) *v1.Pod {
	return m.pod(what, "1", func(pod *v1.Pod) { pod.Annotations = map[string]string{key: value} })
}

// application is a driver with the ConfigMap of its properties.
func (m *Player) application(what, template string, settings ...string) *v1.Pod {
	properties := map[string]string{"spark.kubernetes.scheduler.name": "retinue", "spark.driver.cores": "1", "spark.executor.cores": "1"}
	for _, setting := range settings {
		key, value, _ := strings.Cut(setting, "=")
		properties[key] = value
	}
	driver, err := sparksim.Submitter{Client: m.Client, Clock: clock.RealClock{}, NoService: true}.Submit(context.Background(),
		sparksim.Application{Name: m.name(what), Namespace: m.Namespace, Properties: properties, Template: template})
	m.Made++ // the ConfigMap
	if err != nil {
		m.Refused++
		return nil
	}
	m.must(nil)
	return driver
}

func (m *Player) patch(pod *v1.Pod, text string, subresources ...string) {
	if pod == nil {
		return
	}
	_, err := m.Client.CoreV1().Pods(m.Namespace).Patch(context.Background(), pod.Name, types.MergePatchType, []byte(text), metav1.PatchOptions{}, subresources...)
	m.must(err)
}

func (m *Player) remove(pod *v1.Pod) {
	if pod != nil {
		m.must(m.Client.CoreV1().Pods(m.Namespace).Delete(context.Background(), pod.Name, metav1.DeleteOptions{}))
	}
}

// forgedText is a reservation of very many slots on nodes that there are and that there are not.
func forgedText(slots int, size string) string {
	return fmt.Sprintf(`{"roles":[{"name":"executor","count":%d,"minimum":%d,"requests":{"cpu":%q}}],"slots":[{"role":0,"node":"node-0001","count":%d},{"role":0,"node":"nowhere","count":%d}]}`,
		slots, slots, size, slots/2, slots-slots/2)
}

// rolesText lists roles; each is made by its number.
func rolesText(count int, role func(i int) string) string {
	roles := make([]string, count)
	for i := range roles {
		roles[i] = role(i)
	}
	return "[" + strings.Join(roles, ",") + "]"
}

// tricks are what a tenant may try, by what it is for.
var tricks = map[string]func(*Player){
	"a text that says one thing thousands of times": func(m *Player) {
		m.annotated("bomb", spark.AnnotationRoles, "x: &x ["+strings.Repeat("y,", 2000)+"]\ny: ["+strings.Repeat("*x,", 3000)+"]")
		m.application("bomb", "a: &a ["+strings.Repeat("b,", 1000)+"]\nspec: {containers: ["+strings.Repeat("*a,", 2000)+"]}", "spark.executor.instances=1")
	},
	"a driver with a node and a forged reservation": func(m *Player) {
		m.pod("forged", "1", func(pod *v1.Pod) {
			pod.Spec.NodeName = "node-0001"
			pod.Labels = map[string]string{spark.LabelRole: spark.RoleDriver, spark.LabelApp: pod.Name}
			pod.Annotations = map[string]string{plugin.AnnotationReservation: forgedText(100_000, "1000")}
		})
	},
	"a driver without workers whose reservation is forged later": func(m *Player) {
		pod := m.annotated("later", spark.AnnotationRoles, "[]")
		m.patch(pod, fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, plugin.AnnotationReservation, forgedText(50_000, "1")))
		if pod != nil {
			m.patch(pod, `{"metadata":{"labels":{"retinue.dev/gang":"another"}}}`)
		}
	},
	"many roles that do not fit": func(m *Player) {
		m.annotated("roles", spark.AnnotationRoles, rolesText(16, func(i int) string {
			return fmt.Sprintf("{name: r%d, count: 9, requests: {cpu: %dm}, selector: {r: r%d}}", i, 3000+100*i, i)
		}))
		m.annotated("roles", spark.AnnotationRoles, rolesText(64, func(i int) string {
			return fmt.Sprintf("{name: r%d, count: 1, requests: {cpu: 1}, selector: {r: r%d}}", i, i)
		}))
	},
	"small executors are predicted, and large ones come": func(m *Player) {
		driver := m.application("grows", "", "spark.executor.instances=3", "spark.kubernetes.driver.annotation."+sparksim.AnnotationRunTime+"=1h")
		if driver == nil {
			return
		}
		for range 3 {
			m.pod("grown", "15", func(pod *v1.Pod) {
				pod.Labels = map[string]string{spark.LabelRole: spark.RoleExecutor, spark.LabelApp: driver.Labels[spark.LabelApp]}
				pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: driver.Name, UID: driver.UID, Controller: ptr.To(true)}}
			})
		}
	},
	"shapes that have to be rehearsed": func(m *Player) {
		m.application("rehearsed", fmt.Sprintf(`spec: {containers: [{name: main}], affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {never: x%d}}}, {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {spark-role: executor}}}]}}}`, m.serial),
			fmt.Sprint("spark.executor.instances=", 20+m.Chance.IntN(30)))
	},
	"pods with a finalizer that are deleted while they wait": func(m *Player) {
		m.remove(m.pod("held", "100", func(pod *v1.Pod) { pod.Finalizers = []string{"example.com/never"} }))
	},
	"a resize that no node has room for": func(m *Player) {
		m.patch(m.pod("resized", "100m", func(*v1.Pod) {}), `{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"1000"}}}]}}`, "resize")
	},
	"a slot that no node could hold": func(m *Player) {
		m.application("never", "", "spark.executor.instances=1", "spark.executor.cores=1000")
		m.application("never", "", "spark.executor.instances=100000", "spark.executor.memory=900g")
	},
	"selectors with keys of their own": func(m *Player) {
		serial := m.serial
		m.remove(m.annotated("keys", spark.AnnotationRoles, rolesText(16, func(i int) string {
			return fmt.Sprintf("{name: r%d, count: 1, requests: {cpu: 100}, selector: {key-%d-%d: x}}", i, serial, i)
		})))
	},
	"very many resources": func(m *Player) {
		resources := make([]string, 2000)
		for i := range resources {
			resources[i] = fmt.Sprintf("example.com/r%d: 1", i)
		}
		m.annotated("resources", spark.AnnotationRoles, "[{name: r, count: 1, selector: {a: b}, requests: {"+strings.Join(resources, ", ")+"}}]")
	},
	"a count that grows while the pod waits": func(m *Player) {
		pod := m.annotated("counts", spark.AnnotationRoles, "[{name: r, count: 9000, requests: {cpu: 1}, selector: {a: b}}]")
		m.patch(pod, fmt.Sprintf(`{"metadata":{"annotations":{%q:"[{name: r, count: 2147483647, requests: {cpu: 1}, selector: {a: b}}]"}}}`, spark.AnnotationRoles))
		m.patch(pod, fmt.Sprintf(`{"metadata":{"annotations":{%q:"[{name: r, count: 99999, requests: {cpu: 999999999999999999}, selector: {a: b}}]"}}}`, spark.AnnotationRoles))
	},
	"pods of one name after another": func(m *Player) {
		name := m.name("same")
		for range 3 {
			m.remove(m.pod("same", "100", func(pod *v1.Pod) { pod.Name = name }))
		}
	},
	"a driver whose configuration never comes": func(m *Player) {
		m.pod("silent", "1", func(pod *v1.Pod) {
			pod.Labels = map[string]string{spark.LabelRole: spark.RoleDriver, spark.LabelApp: pod.Name}
			pod.Spec.Volumes = []v1.Volume{{Name: "spark-conf-volume-driver", VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: "missing"}}}}}
		})
	},
	"a pod that takes for ever to end": func(m *Player) {
		m.pod("slow", "100m", func(pod *v1.Pod) { pod.Spec.TerminationGracePeriodSeconds = ptr.To[int64](1 << 40) })
	},
	"long annotations": func(m *Player) {
		m.pod("long", "1", func(pod *v1.Pod) {
			pod.Annotations = map[string]string{spark.AnnotationRoles: "[{name: r, count: 3, requests: {cpu: 100m}, selector: {a: b}}]", "filler": strings.Repeat("x", 250<<10)}
		})
	},
	"a number of workers that changes": func(m *Player) {
		pod := m.annotated("workers", spark.AnnotationWorkers, "5")
		m.patch(pod, fmt.Sprintf(`{"metadata":{"annotations":{%q:"99999999999999999999"}}}`, spark.AnnotationWorkers))
		m.patch(pod, fmt.Sprintf(`{"metadata":{"annotations":{%q:"1"}}}`, spark.AnnotationWorkers))
	},
}
