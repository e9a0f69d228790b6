package spark

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
)

// executorOf infers the executor of an application with a template.
func executorOf(t *testing.T, text, template string) *v1.Pod {
	t.Helper()
	pod, err := ParseTemplate(template)
	if err != nil {
		t.Fatal(err)
	}
	definition, err := Infer(driverPod("4.2.0"), parsed(t, text), pod)
	if err != nil {
		t.Fatal(err)
	}
	return definition.Roles[0].Pod
}

func TestSparkIsLaidOverTheTemplate(t *testing.T) {
	pod := executorOf(t, `
spark.kubernetes.executor.podTemplateContainerName=main
spark.kubernetes.node.selector.pool=batch
spark.kubernetes.executor.node.selector.disk=nvme
spark.kubernetes.executor.label.team=data
spark.kubernetes.executor.label.app={{APP_ID}}
spark.kubernetes.executor.label.number=n{{EXECUTOR_ID}}
spark.kubernetes.container.image=spark:1
spark.executor.resource.gpu.amount=2
spark.executor.resource.gpu.vendor=nvidia.com
`, `
metadata:
  labels: {from: template, team: nobody, number: none}
spec:
  schedulerName: overruled
  nodeSelector: {disk: ssd, zone: a}
  priorityClassName: batch
  tolerations: [{key: dedicated, operator: Exists}]
  initContainers:
    - {name: fetch, image: fetch, resources: {requests: {cpu: 3}}}
  containers:
    - name: logs
      image: logs
      env: [{name: PASSWORD, value: hunter2}]
      resources: {limits: {memory: 100Mi}}
    - name: main
      command: [sleep]
      resources:
        requests: {cpu: 7, memory: 1Mi, ephemeral-storage: 5Gi}
        limits: {cpu: 8, nvidia.com/gpu: 1}
`)
	var containers []string
	for _, container := range pod.Spec.Containers {
		containers = append(containers, container.Name)
	}
	got := map[string]any{
		"labels":       pod.Labels,
		"scheduler":    pod.Spec.SchedulerName,
		"nodeSelector": pod.Spec.NodeSelector,
		"tolerations":  pod.Spec.Tolerations,
		"priority":     pod.Spec.PriorityClassName,
		"containers":   containers,
		"image":        pod.Spec.Containers[1].Image,
		"main":         resources(pod.Spec.Containers[1]),
		"logs":         resources(pod.Spec.Containers[0]),
		"fetch":        resources(pod.Spec.InitContainers[0]),
	}
	want := map[string]any{
		"labels": map[string]string{
			"from": "template", "team": "data", "app": "spark-0123",
			LabelApp: "spark-0123", LabelRole: RoleExecutor, LabelAppName: "etl", LabelVersion: "4.2.0", LabelResourceProfile: "0",
		},
		"scheduler":    "retinue",
		"nodeSelector": map[string]string{"disk": "nvme", "zone": "a", "pool": "batch"},
		"tolerations":  []v1.Toleration{{Key: "dedicated", Operator: v1.TolerationOpExists}},
		"priority":     "batch",
		"containers":   []string{"logs", "main"},
		"image":        "spark:1",
		"main":         "requests cpu=1 ephemeral-storage=5Gi memory=1408Mi nvidia.com/gpu=2 limits cpu=8 memory=1408Mi nvidia.com/gpu=2",
		"logs":         "requests memory=100Mi limits memory=100Mi",
		"fetch":        "requests cpu=3 limits",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if pod.Spec.Containers[0].Env != nil || pod.Spec.Containers[1].Command != nil {
		t.Error("the environment or the command of a template is kept")
	}
}

func TestWhichContainerOfATemplateIsSparks(t *testing.T) {
	const two = "spec: {containers: [{name: one, image: one}, {name: two, image: two}]}"
	tests := map[string]struct {
		text, template string
		want           []string
	}{
		"the first":                {"", two, []string{"two", "one"}},
		"the named one":            {"spark.kubernetes.executor.podTemplateContainerName=two", two, []string{"one", "two"}},
		"the first if none has it": {"spark.kubernetes.executor.podTemplateContainerName=three", two, []string{"two", "one"}},
		"one without a name":       {"", "spec: {containers: [{image: x}]}", []string{ExecutorContainer}},
		"none in the template":     {"", "spec: {nodeSelector: {a: b}}", []string{ExecutorContainer}},
		"an empty spec":            {"", "kind: Pod\nspec: {}", []string{ExecutorContainer}},
		"documents of nothing":     {"", "# nothing\n---\n" + two + "\n---\n# nothing", []string{"two", "one"}},
		"JSON":                     {"", `{"spec": {"containers": [{"name": "one"}]}}`, []string{"one"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, container := range executorOf(t, test.text, test.template).Spec.Containers {
				got = append(got, container.Name)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestWhatBindsExecutorsToNodes(t *testing.T) {
	pod := executorOf(t, `
spark.blockManager.port=17079
spark.kubernetes.executor.volumes.persistentVolumeClaim.data.options.claimName=shared
spark.kubernetes.executor.volumes.persistentVolumeClaim.data.mount.path=/data
spark.kubernetes.executor.volumes.persistentVolumeClaim.own.options.claimName=OnDemand
spark.kubernetes.executor.volumes.emptyDir.scratch.mount.path=/scratch
`, `
spec:
  hostNetwork: true
  volumes:
    - {name: secret, secret: {secretName: x}}
    - {name: models, persistentVolumeClaim: {claimName: models}}
    - {name: temporary, ephemeral: {volumeClaimTemplate: {spec: {resources: {requests: {storage: 1e-1000000000}}}}}}
  containers:
    - {name: main, ports: [{containerPort: 1}]}
    - {name: side, image: side, ports: [{containerPort: 9999}]}
`)
	if diff := cmp.Diff([]string{"TCP :1", "TCP :17079", "TCP :9999"}, hostPorts(pod)); diff != "" {
		t.Errorf("host ports: -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"models", "shared"}, claimNames(pod)); diff != "" {
		t.Errorf("claims: -want +got:\n%s", diff)
	}
	if len(pod.Spec.Volumes) != 2 {
		t.Errorf("volumes that bind to no node are kept: %v", pod.Spec.Volumes)
	}
}

func TestBadTemplatesAreToldInOneLine(t *testing.T) {
	container := func(resources string) string {
		return "spec: {containers: [{name: a, resources: " + resources + "}]}"
	}
	tests := map[string]struct{ template, want string }{
		"nothing":                 {"# nothing\n", "the executor pod template: nothing in it, Spark will refuse to start"},
		"no spec":                 {"kind: Pod\nspec:\n", "the executor pod template: spec: required, Spark will refuse to start"},
		"another kind":            {"kind: PodTemplate\ntemplate: {spec: {}}", `the executor pod template: kind "PodTemplate", want Pod`},
		"a kind in small letters": {"kind: pod\nspec: {}", `the executor pod template: kind "pod", want Pod`},
		"two documents":           {"spec: {}\n---\nspec: {}", "the executor pod template: more than one document, Spark will refuse to start"},
		"no YAML":                 {"a: [", "the executor pod template: not YAML: yaml: line 1: did not find expected node content"},
		"a list":                  {"[1]", "the executor pod template: not a pod: the whole of it is of the wrong kind: array"},
		"a word for containers":   {"spec: {containers: none}", "the executor pod template: not a pod: spec.containers is of the wrong kind: string"},
		"no quantity":             {container("{limits: {cpu: much}}"), `the executor pod template: spec.containers[0].resources.limits[cpu]="much": not a Kubernetes quantity such as 1500m or 2`},
		"a quantity that would take for ever": {container("{requests: {cpu: '1e-1000000000'}}"),
			`the executor pod template: spec.containers[0].resources.requests[cpu]="1e-1000000000": not a Kubernetes quantity such as 1500m or 2`},
		"a negative quantity":          {container("{requests: {example.com/x: -1}}"), `the executor pod template: spec.containers[0].resources.requests[example.com/x]: Invalid value: "-1": must not be negative`},
		"an affinity without sense":    {"spec: {affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Near}]}]}}}}", `the executor pod template: spec.affinity.nodeAffinity: Invalid value: nodeSelectorTerms[0].matchExpressions[0].operator: Unsupported value: "Near": supported values: "In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"`},
		"a spread over nothing":        {"spec: {topologySpreadConstraints: [{maxSkew: 0, whenUnsatisfiable: DoNotSchedule, topologyKey: zone}]}", "the executor pod template: spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be at least 1"},
		"a pod affinity to nowhere":    {"spec: {affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{}]}}}", "the executor pod template: spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: must name a node label"},
		"a label that is none":         {"metadata: {labels: {a: '-'}}\nspec: {}", `the executor pod template: metadata.labels[a]="-": not the value of a label: at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends`},
		"a node selector that is none": {"spec: {nodeSelector: {'a b': c}}", `the executor pod template: spec.nodeSelector[a b]="c": not the name of a label, such as team or example.com/team`},
		"aliases that grow for ever":   {"a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n", "the executor pod template: its 50 aliases stand for more than 196608 bytes: write out what they name, or leave it out"},
		"nesting without end":          {strings.Repeat("[", 20000), "the executor pod template: not YAML: yaml: exceeded max depth of 10000"},
		"more than is read":            {strings.Repeat("#", MaxTextBytes+1), "the executor pod template: 65537 bytes, more than 65536"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			template, err := ParseTemplate(test.template)
			if err == nil {
				_, err = Infer(driverPod("4.2.0"), parsed(t, ""), template)
			}
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Error("more than one line")
			}
		})
	}
}

func TestAVersionThatIsNewerThanTheRulesIsTold(t *testing.T) {
	for version, want := range map[string][]string{
		Latest.String(): nil,
		"99.0.1":        {"Spark 99.0 is newer than " + Latest.String() + ", whose rules are used"},
	} {
		definition, err := Infer(driverPod(version), parsed(t, ""), nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, definition.Warnings); diff != "" {
			t.Errorf("%s: -want +got:\n%s", version, diff)
		}
	}
}

func TestWarnings(t *testing.T) {
	template, err := ParseTemplate("spec: {runtimeClassName: gvisor, resourceClaims: [{name: x}], volumes: [{name: t, ephemeral: {}}]}")
	if err != nil {
		t.Fatal(err)
	}
	definition, err := Infer(driverPod("3.2.4"), parsed(t, "spark.executor.memory=2048\nspark.driver.memory=449m\nspark.kubernetes.executor.pod.featureSteps=a.B\nspark.kubernetes.executor.scheduler.name=retinue\nspark.kubernetes.executor.volumes.persistentVolumeClaim.x.options.claimName=OnDemand"), template)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"Spark 3.2 is older than 3.3, the oldest version whose rules are known",
		`spark.driver.memory="449m": Spark refuses to start with less than 450m`,
		`spark.executor.memory="2048" has no unit: pods are sized in MiB, but Java and parts of Spark read bytes and refuse to start; write 2048m`,
		"spark.kubernetes.executor.pod.featureSteps may change executors in ways that only the first one shows",
		"every executor gets volume claims of its own: zones that they may be tied to are not considered",
		"the executor template names a runtime class: an overhead that it adds shows in the first executor only",
		"the executor template has resource claims: devices that they need are not considered",
		"the executor template has ephemeral volumes: zones that they may be tied to are not considered",
	}
	if diff := cmp.Diff(want, definition.Warnings); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
