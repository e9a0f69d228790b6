package hostile

import (
	"context"
	"fmt"
	"maps"
	"strconv"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	schedulingv1alpha1 "sigs.k8s.io/scheduler-plugins/apis/scheduling/v1alpha1"

	"retinue.dev/retinue/pkg/spark"
)

// group declares a gang without a leader; spec is JSON. It is empty if the API server has refused it.
func (m *Player) group(what, spec string) string {
	name := m.name(what)
	text := fmt.Sprintf(`{"apiVersion":%q,"kind":"PodGroup","metadata":{"name":%q},"spec":%s}`, schedulingv1alpha1.SchemeGroupVersion, name, spec)
	m.Bytes += len(text)
	if !m.must(m.Client.Discovery().RESTClient().Post().AbsPath(m.groups()).SetHeader("Content-Type", "application/json").Body([]byte(text)).Do(context.Background()).Error()) {
		return ""
	}
	return name
}

func (m *Player) groups() string {
	return "/apis/" + schedulingv1alpha1.SchemeGroupVersion.String() + "/namespaces/" + m.Namespace + "/podgroups"
}

// regroup changes the spec of a group.
func (m *Player) regroup(name, spec string) {
	if name != "" {
		m.must(m.Client.Discovery().RESTClient().Patch(types.MergePatchType).AbsPath(m.groups(), name).Body([]byte(`{"spec":` + spec + `}`)).Do(context.Background()).Error())
	}
}

// member is a pod of a group.
func (m *Player) member(group, cpu string) *v1.Pod {
	return m.pod("member", cpu, func(pod *v1.Pod) { pod.Labels = map[string]string{schedulingv1alpha1.PodGroupLabel: group} })
}

func init() {
	maps.Copy(tricks, map[string]func(*Player){
		"a group of very many pods": func(m *Player) {
			m.member(m.group("many", `{"minMember":2147483647,"scheduleTimeoutSeconds":2147483647}`), "1")
		},
		"a group that wants very much in all": func(m *Player) {
			m.member(m.group("vast", `{"minMember":1,"minResources":{"cpu":"9E","memory":"9E"}}`), "1")
			m.member(m.group("tiny", `{"minMember":1,"minResources":{"cpu":"1e-2147483647"}}`), "1")
			m.member(m.group("none", `{"minMember":-1}`), "1")
		},
		"a group whose size changes back and forth": func(m *Player) {
			group := m.group("changes", `{"minMember":3}`)
			m.member(group, "1")
			m.member(group, "100m")
			for _, minimum := range []int{1, 100, 2, 2147483647, 2} {
				m.regroup(group, fmt.Sprintf(`{"minMember":%d}`, minimum))
			}
		},
		"very many groups": func(m *Player) {
			for range 20 {
				m.group("lots", `{"minMember":2}`)
			}
		},
		"pods that move between groups": func(m *Player) {
			here, there := m.group("here", `{"minMember":2}`), m.group("there", `{"minMember":2}`)
			for range 2 {
				pod := m.member(here, "5")
				for _, group := range []string{there, here, "nowhere", there} {
					m.patch(pod, fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, schedulingv1alpha1.PodGroupLabel, group))
				}
				m.patch(pod, fmt.Sprintf(`{"metadata":{"labels":{%q:null}}}`, schedulingv1alpha1.PodGroupLabel))
			}
		},
		"pods of one gang that all differ": func(m *Player) {
			gang := m.name("differ")
			for i := range 12 {
				m.pod("differs", fmt.Sprint(100+i, "m"), func(pod *v1.Pod) {
					pod.Labels = map[string]string{spark.LabelGang: gang}
					pod.Annotations = map[string]string{spark.AnnotationWorkers: strconv.Itoa(12 - i%2)}
				})
			}
		},
		"a gang that never becomes whole": func(m *Player) {
			group := m.group("half", `{"minMember":2}`)
			m.member(group, "10")
			pod := m.member(group, "10")
			m.patch(pod, `{"metadata":{"finalizers":["example.com/never"]}}`)
			m.remove(pod)
			if pod != nil {
				m.must(m.Client.Discovery().RESTClient().Delete().AbsPath(m.groups(), group).Do(context.Background()).Error())
			}
		},
	})
}
