package spark

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func leader(annotations map[string]string) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "jobmanager", Labels: map[string]string{"app": "flink"}, Annotations: annotations},
		Spec:       v1.PodSpec{SchedulerName: "retinue"},
	}
}

func TestRolesOfALeader(t *testing.T) {
	definition, found, err := FromAnnotations(leader(map[string]string{AnnotationRoles: `
- name: taskmanager
  count: 4
  minimum: 3
  maximum: 10
  requests: {cpu: 2, memory: 4Gi, nvidia.com/gpu: "1"}
  selector: {app: flink, component: taskmanager}
  labels: {tier: batch, app: ignored}
  nodeSelector: {disk: ssd}
  tolerations: [{key: dedicated, operator: Exists}]
  priorityClassName: batch
- name: helper
  count: 0
  requests: {cpu: 0.5}
  selector: {app: flink, component: helper}
`}))
	if err != nil || !found {
		t.Fatalf("found %v, error %v", found, err)
	}
	type summary struct {
		Name            string
		Count, Minimum  int
		Maximum         *int
		Requests        string
		Selector, Label map[string]string
		Node            map[string]string
		Tolerations     int
		Priority        string
		Scheduler       string
	}
	var got []summary
	for _, role := range definition.Roles {
		spec := role.Pod.Spec
		got = append(got, summary{role.Name, role.Count, role.Minimum, role.Maximum, role.Requests.String(), role.Selector, role.Pod.Labels,
			spec.NodeSelector, len(spec.Tolerations), spec.PriorityClassName, spec.SchedulerName})
	}
	taskmanager := map[string]string{"app": "flink", "component": "taskmanager"}
	helper := map[string]string{"app": "flink", "component": "helper"}
	want := []summary{
		{"taskmanager", 4, 3, ptr.To(10), "cpu 2, memory 4Gi, nvidia.com/gpu 1", taskmanager,
			map[string]string{"app": "flink", "component": "taskmanager", "tier": "batch"}, map[string]string{"disk": "ssd"}, 1, "batch", "retinue"},
		{"helper", 0, 0, nil, "cpu 500m", helper, helper, nil, 0, "", "retinue"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if definition.Source != AnnotationSource {
		t.Errorf("source %q", definition.Source)
	}
}

func TestHowWorkersAreKnownWithoutASelector(t *testing.T) {
	const text = `[{"name": "executor", "count": 1, "requests": {"cpu": 1}}]`
	tests := map[string]struct {
		labels, want map[string]string
	}{
		"by the gang's label": {map[string]string{LabelGang: "g"}, map[string]string{LabelGang: "g", LabelGangRole: "executor"}},
		"by Spark's labels":   {map[string]string{LabelApp: "s", LabelRole: RoleDriver}, map[string]string{LabelApp: "s", LabelRole: RoleExecutor}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			pod := leader(map[string]string{AnnotationRoles: text})
			pod.Labels = test.labels
			definition, _, err := FromAnnotations(pod)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, definition.Roles[0].Selector); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestAWorkerThatNamesItsNumber(t *testing.T) {
	worker := func(labels map[string]string) *v1.Pod {
		return &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "w-1", Labels: labels, Annotations: map[string]string{AnnotationWorkers: "10"}},
			Spec: v1.PodSpec{Containers: []v1.Container{{
				Name:      "main",
				Env:       []v1.EnvVar{{Name: "PASSWORD", Value: "hunter2"}},
				Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("3")}},
			}}},
		}
	}
	tests := map[string]struct {
		labels, wantSelector map[string]string
		wantName             string
	}{
		"an executor in client mode": {map[string]string{LabelApp: "s", LabelRole: RoleExecutor, LabelExecutorID: "7"}, map[string]string{LabelApp: "s", LabelRole: RoleExecutor}, "executor"},
		"any pod":                    {map[string]string{LabelGang: "g", "x": "y"}, map[string]string{LabelGang: "g"}, "worker"},
		"a pod with a role":          {map[string]string{LabelGang: "g", LabelGangRole: "ps"}, map[string]string{LabelGang: "g", LabelGangRole: "ps"}, "ps"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			definition, found, err := FromAnnotations(worker(test.labels))
			if err != nil || !found {
				t.Fatalf("found %v, error %v", found, err)
			}
			role := definition.Roles[0]
			if role.Name != test.wantName || role.Count != 10 || role.Minimum != 10 || role.Maximum != nil || role.Requests.String() != "cpu 3" {
				t.Errorf("role %+v", role)
			}
			if diff := cmp.Diff(test.wantSelector, role.Selector); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if role.Pod.Spec.Containers[0].Env != nil {
				t.Error("the environment is kept")
			}
		})
	}
}

func TestNoAnnotation(t *testing.T) {
	if _, found, err := FromAnnotations(leader(nil)); found || err != nil {
		t.Errorf("found %v, error %v", found, err)
	}
}

func TestBadAnnotationsAreNamedWithTheirValue(t *testing.T) {
	role := func(fields string) string {
		return "[{name: a, count: 2, requests: {cpu: 1}, selector: {a: b}, " + fields + "}]"
	}
	tests := map[string]struct{ text, want string }{
		"no YAML":                  {"[", "not YAML: yaml: line 1: did not find expected node content"},
		"nothing":                  {"", "no role in the list"},
		"no role":                  {"[]", "no role in the list"},
		"no list":                  {"name: a", "the whole of it is of the wrong kind: object"},
		"an unknown field":         {role("replicas: 3"), `unknown field "replicas"`},
		"a field twice":            {"[{name: a, name: b}]", `not YAML: yaml: unmarshal errors: line 1: key "name" already set in map`},
		"a word for a number":      {"[{name: a, count: two}]", "count is of the wrong kind: string"},
		"half a worker":            {"[{name: a, count: 1.5}]", "count is of the wrong kind: number 1.5"},
		"no name":                  {"[{count: 1}]", `[0].name="": want at most 63 lower case letters, digits and '-', with a letter or digit at both ends`},
		"no count":                 {"[{name: a}]", "[0].count: required"},
		"less than none":           {"[{name: a, count: -1}]", "[0].count=-1: want 0 to 100000"},
		"a minimum over the count": {role("minimum: 3"), "[0].minimum=3: want 0 to 2"},
		"a maximum under it":       {role("maximum: 1"), "[0].maximum=1: want 2 to 2147483647"},
		"no requests":              {"[{name: a, count: 1}]", "[0].requests: required, for example {cpu: 4, memory: 8Gi}"},
		"no quantity":              {"[{name: a, count: 1, requests: {memory: 8 GB}}]", `[0].requests.memory="8 GB": not a quantity such as 4 or 8Gi`},
		"a negative quantity":      {"[{name: a, count: 1, requests: {cpu: -1}}]", `[0].requests.cpu="-1": not a quantity such as 4 or 8Gi`},
		"a quantity without end":   {"[{name: a, count: 1, requests: {cpu: '1e-1000000000'}}]", `[0].requests.cpu="1e-1000000000": not a quantity such as 4 or 8Gi`},
		"a list for a quantity":    {"[{name: a, count: 1, requests: {cpu: [1]}}]", `requests: "[1]" is no quantity`},
		"no resource":              {"[{name: a, count: 1, requests: {'a b': 1}}]", `[0].requests."a b": no resource has such a name; want one such as cpu, memory or nvidia.com/gpu`},
		"no selector":              {"[{name: a, count: 1, requests: {cpu: 1}}]", "[0].selector: required, as the leader has no label retinue.dev/gang"},
		"no label":                 {"[{name: a, count: 1, requests: {cpu: 1}, selector: {a: -}}]", `[0].selector[a]="-": not the value of a label: at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends`},
		"no operator":              {role("tolerations: [{operator: Maybe}]"), `[0].tolerations[0].operator: Invalid value: "Maybe": unknown operator`},
		"two of one name":          {"[{name: a, count: 1, requests: {cpu: 1}, selector: {a: b}}, {name: a, count: 1, requests: {cpu: 1}, selector: {a: c}}]", `[1].name="a": there already is a role of this name`},
		"two that cannot be told":  {"[{name: a, count: 1, requests: {cpu: 1}, selector: {a: b}}, {name: c, count: 1, requests: {cpu: 1}, selector: {a: b}}]", `[1].selector: selects the same pods as role "a"`},
		"too many":                 {"[" + strings.Repeat("{},", 17) + "]", "17 roles, more than 16"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, found, err := FromAnnotations(leader(map[string]string{AnnotationRoles: test.text}))
			if !found || err == nil {
				t.Fatalf("found %v, error %v", found, err)
			}
			if diff := cmp.Diff("annotation retinue.dev/roles="+quote(test.text)+": "+test.want, err.Error()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	for text, want := range map[string]string{
		"ten": `annotation retinue.dev/workers="ten": want the number of pods like this one that start together, 1 to 100000`,
		"0":   `annotation retinue.dev/workers="0": want the number of pods like this one that start together, 1 to 100000`,
		"3":   `annotation retinue.dev/workers="3": needs the label retinue.dev/gang, which names the gang`,
	} {
		if _, found, err := FromAnnotations(leader(map[string]string{AnnotationWorkers: text})); !found || err == nil || err.Error() != want {
			t.Errorf("found %v, error %v, want %s", found, err, want)
		}
	}
	_, _, err := FromAnnotations(leader(map[string]string{AnnotationRoles: "", AnnotationWorkers: ""}))
	if err == nil || err.Error() != "annotations retinue.dev/roles and retinue.dev/workers exclude each other: a pod is either leader or worker" {
		t.Error(err)
	}
}
