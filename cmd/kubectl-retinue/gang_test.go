package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"retinue.dev/retinue/pkg/spark"
)

// call runs the command and returns its exit code and what it wrote.
func call(args ...string) (code int, stdout, stderr string) {
	var out, errOut bytes.Buffer
	code = run(args, genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut})
	return code, out.String(), errOut.String()
}

// write makes a file and returns its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// inferred is the source of what is inferred from a file, in answers that do not know its name.
const inferred = `"source":"spark.properties"`

const java = "spark.kubernetes.resource.type=java\n"

const python = "spark.kubernetes.resource.type=python\nspark.kubernetes.memoryOverheadFactor=0.4\n"

func TestWorkedExamples(t *testing.T) {
	tests := map[string]struct {
		version, properties string
		want                string // JSON
	}{
		"nothing is set": {
			want: answer("1", "1408Mi", 2, 2, 2, `"cpu":"1","memory":"1408Mi"`),
		},
		"memory, cores and instances": {
			properties: "spark.driver.memory=4g\nspark.executor.memory=8g\nspark.executor.cores=4\nspark.executor.instances=10",
			want:       answer("1", "4505Mi", 10, 10, 10, `"cpu":"4","memory":"9011Mi"`),
		},
		"the same in Python": {
			properties: python + "spark.driver.memory=4g\nspark.executor.memory=8g\nspark.executor.cores=4\nspark.executor.instances=10",
			want:       answer("1", "5734Mi", 10, 10, 10, `"cpu":"4","memory":"11468Mi"`),
		},
		"Python and off-heap memory": {
			properties: python + "spark.driver.memory=2g\nspark.executor.memory=8g\nspark.executor.pyspark.memory=2g\nspark.memory.offHeap.enabled=true\nspark.memory.offHeap.size=1g",
			want:       answer("1", "2867Mi", 2, 2, 2, `"cpu":"1","memory":"14540Mi"`),
		},
		"an absolute overhead": {
			properties: "spark.executor.memory=20g\nspark.executor.memoryOverhead=2g",
			want:       answer("1", "1408Mi", 2, 2, 2, `"cpu":"1","memory":"22Gi"`),
		},
		"a factor of the executors' own": {
			properties: python + "spark.driver.memory=8g\nspark.executor.memory=16g\nspark.executor.memoryOverheadFactor=0.2",
			want:       answer("1", "11468Mi", 2, 2, 2, `"cpu":"1","memory":"19660Mi"`),
		},
		"a floor, in 3.5": {
			version:    "3.5.9",
			properties: "spark.executor.memory=2g\nspark.executor.minMemoryOverhead=1g",
			want:       answer("1", "1408Mi", 2, 2, 2, `"cpu":"1","memory":"2432Mi"`),
		},
		"a floor, in 4.0": {
			version:    "4.0.5",
			properties: "spark.executor.memory=2g\nspark.executor.minMemoryOverhead=1g",
			want:       answer("1", "1408Mi", 2, 2, 2, `"cpu":"1","memory":"3Gi"`),
		},
		"a GPU": {
			properties: "spark.executor.cores=4\nspark.kubernetes.executor.request.cores=1500m\nspark.kubernetes.executor.limit.cores=4\nspark.executor.resource.gpu.amount=1\nspark.executor.resource.gpu.vendor=nvidia.com\nspark.executor.memory=4g",
			want:       answer("1", "1408Mi", 2, 2, 2, `"cpu":"1500m","memory":"4505Mi","nvidia.com/gpu":"1"`),
		},
		"dynamic allocation": {
			properties: python + "spark.dynamicAllocation.enabled=true\nspark.dynamicAllocation.minExecutors=2\nspark.dynamicAllocation.initialExecutors=4\nspark.executor.instances=3\nspark.dynamicAllocation.maxExecutors=50\nspark.executor.memory=1g",
			want:       answer("1", "1433Mi", 4, 2, 50, `"cpu":"1","memory":"1433Mi"`),
		},
		"dynamic allocation without limit": {
			properties: "spark.dynamicAllocation.enabled=true",
			want:       answer("1", "1408Mi", 0, 0, nil, `"cpu":"1","memory":"1408Mi"`),
		},
		"little memory": {
			properties: "spark.executor.memory=512m\nspark.driver.memory=512m",
			want:       answer("1", "896Mi", 2, 2, 2, `"cpu":"1","memory":"896Mi"`),
		},
		"settings that no release has mean nothing": {
			properties: "spark.executor.memory=10g\nspark.executor.memoryOverhead=2g\nspark.executor.memoryOverheadBursty.enabled=true\nspark.executor.memoryOverheadBursty.factor=1.2",
			want:       answer("1", "1408Mi", 2, 2, 2, `"cpu":"1","memory":"12Gi"`),
		},
		"a driver that works alone": {
			properties: "spark.kubernetes.driver.master=local[*]\nspark.executor.instances=8",
			want:       `{"driver":{"cpu":"1","memory":"1408Mi"},"workers":[],"source":"spark.properties","warnings":[]}`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			language := "python"
			if !strings.HasPrefix(test.properties, python) {
				language, test.properties = "java", java+test.properties
			}
			file := write(t, "my.conf", test.properties)
			version := spark.Latest
			if test.version != "" {
				version, _ = spark.ParseVersion(test.version)
			}
			test.want = strings.Replace(test.want, inferred, fmt.Sprintf(`"source":%q,"sparkVersion":%q,"language":%q`, file, version, language), 1)
			args := []string{"gang", "--properties", file}
			if test.version != "" {
				args = append(args, "--spark-version", test.version)
			}
			answers := map[string]string{} // --output -> what is written
			for _, output := range outputs {
				code, stdout, stderr := call(append(args, "-o", output)...)
				if code != 0 || stderr != "" {
					t.Fatalf("%s: exit code %d: %s", output, code, stderr)
				}
				answers[output] = stdout
			}
			if diff := cmp.Diff(compact(t, test.want), compact(t, answers[outputJSON])); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			var want, got report
			if err := errors.Join(json.Unmarshal([]byte(test.want), &want), yaml.UnmarshalStrict([]byte(answers[outputYAML]), &got)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("yaml: -want +got:\n%s", diff)
			}
			rows := [][]string{strings.Fields("driver 1 1 1 " + want.Driver[v1.ResourceCPU] + " " + want.Driver[v1.ResourceMemory])}
			for _, w := range want.Workers {
				rows = append(rows, strings.Fields(fmt.Sprint(w.Role, " ", w.Count, " ", w.Minimum)))
			}
			for i, row := range rows {
				line := strings.Split(answers[outputTable], "\n")[i+1]
				if got := strings.Fields(line); !slices.Equal(row, got[:len(row)]) {
					t.Errorf("table: %q, want %q", line, row)
				}
			}
		})
	}
}

// answer is the JSON of a gang of executors without constraints and warnings.
func answer(cpu, memory string, count, minimum int, maximum any, requests string) string {
	numbers, err := json.Marshal([]any{count, minimum, maximum})
	if err != nil {
		panic(err)
	}
	n := strings.Split(strings.Trim(string(numbers), "[]"), ",")
	return `{"driver":{"cpu":"` + cpu + `","memory":"` + memory + `"},"workers":[{"role":"executor","count":` + n[0] + `,"minimum":` + n[1] +
		`,"maximum":` + n[2] + `,"requests":{` + requests + `},"constraints":{}}],"source":"spark.properties","warnings":[]}`
}

// compact makes JSON comparable byte for byte: the order of fields counts.
func compact(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, []byte(text)); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return out.String()
}

const template = `
spec:
  priorityClassName: batch
  nodeSelector: {disk: ssd}
  tolerations: [{key: dedicated, operator: Exists}]
  containers:
    - {name: main}
    - {name: logs, image: logs, resources: {requests: {cpu: 100m, memory: 64Mi, ephemeral-storage: 1Gi}}}
`

func TestTheThreeForms(t *testing.T) {
	properties := write(t, "p", java+"spark.executor.instances=3")
	templateFile := write(t, "t", template)
	for output, want := range map[string]string{
		"table": `ROLE       COUNT   MINIMUM   MAXIMUM   CPU     MEMORY   OTHER
driver     1       1         1         1       1408Mi   -
executor   3       3         3         1100m   1472Mi   ephemeral-storage=1Gi
executor constraints: {"nodeSelector":{"disk":"ssd"},"tolerations":[{"key":"dedicated","operator":"Exists"}],"priorityClassName":"batch"}
source: FILE
spark: version 4.3, language java
`,
		"yaml": `driver:
  cpu: "1"
  memory: 1408Mi
language: java
source: FILE
sparkVersion: "4.3"
warnings: []
workers:
- constraints:
    nodeSelector:
      disk: ssd
    priorityClassName: batch
    tolerations:
    - key: dedicated
      operator: Exists
  count: 3
  maximum: 3
  minimum: 3
  requests:
    cpu: 1100m
    ephemeral-storage: 1Gi
    memory: 1472Mi
  role: executor
`,
	} {
		code, stdout, stderr := call("gang", "--properties", properties, "--executor-template", templateFile, "-o", output)
		if code != 0 || stderr != "" {
			t.Fatalf("%s: exit code %d: %s", output, code, stderr)
		}
		if diff := cmp.Diff(want, strings.Replace(stdout, properties, "FILE", 1)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", output, diff)
		}
	}
}

func TestADriverPodFromAFile(t *testing.T) {
	properties := write(t, "p", java+"spark.executor.minMemoryOverhead=1g\nspark.kubernetes.scheduler.name=retinue")
	driver := write(t, "d", `
metadata: {labels: {spark-role: driver, spark-app-selector: a, spark-version: 3.5.9}}
spec:
  schedulerName: retinue
  containers: [{name: driver, resources: {requests: {cpu: 250m, memory: 3Gi}}}]
`)
	for version, want := range map[string]string{"": "1408Mi", "4.0": "2Gi"} {
		args := []string{"gang", "--properties", properties, "--driver-pod", driver, "-o", "json"}
		if version != "" {
			args = append(args, "--spark-version", version)
		}
		code, stdout, stderr := call(args...)
		if code != 0 {
			t.Fatal(stderr)
		}
		answered := strings.Replace(answerWith("250m", "3Gi", want), inferred, fmt.Sprintf(`"source":%q,"sparkVersion":%q,"language":"java"`, properties, orElse(version, "3.5.9")), 1)
		if diff := cmp.Diff(answered, compact(t, stdout)); diff != "" {
			t.Errorf("version %q: -want +got:\n%s", version, diff)
		}
	}
	annotated := write(t, "a", `
metadata:
  annotations:
    retinue.dev/roles: '[{name: task, count: 4, requests: {cpu: 2}, selector: {a: b}}]'
spec: {containers: [{name: main}]}
`)
	code, stdout, stderr := call("gang", "--driver-pod", annotated, "-o", "json")
	if code != 0 {
		t.Fatal(stderr)
	}
	want := `{"driver":{},"workers":[{"role":"task","count":4,"minimum":4,"maximum":null,"requests":{"cpu":"2"},"constraints":{}}],"source":"annotations","warnings":[]}`
	if diff := cmp.Diff(want, compact(t, stdout)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func answerWith(cpu, memory, executorMemory string) string {
	return answer(cpu, memory, 2, 2, 2, `"cpu":"1","memory":"`+executorMemory+`"`)
}

// Seen failing when errors repeated what a reference brings in.
func TestValuesThatAreNoSizesAreNeverPrinted(t *testing.T) {
	const secret = "hunter2"
	hidden := "spark.hadoop.fs.s3a.secret.key=hunter2\nspark.authenticate.secret=hunter2\nspark.executorEnv.TOKEN=hunter2\n" +
		"spark.kubernetes.driverEnv.TOKEN=hunter2\nspark.kubernetes.executor.annotation.token=hunter2\nspark.app.name=hunter2\n"
	templateFile := write(t, "t", "metadata: {annotations: {token: hunter2}}\nspec: {containers: [{name: a, env: [{name: TOKEN, value: hunter2}], args: [hunter2]}]}")
	driver := write(t, "d", "metadata: {labels: {spark-role: driver, spark-app-selector: a, spark-version: 4.1.0}, annotations: {token: hunter2}}\n"+
		"spec: {containers: [{name: driver, env: [{name: TOKEN, value: hunter2}], args: [--password, hunter2]}]}\n")
	for name, text := range map[string]string{
		"all is well":               "",
		"a mistake elsewhere":       "spark.executor.memory=plenty",
		"a reference to a secret":   "spark.executor.memory=${spark.authenticate.secret}",
		"a scheduler that is one":   "spark.kubernetes.executor.scheduler.name=${spark.authenticate.secret}",
		"a line that cannot be":     `spark.x=hunter2\u1`,
		"an image that is a secret": "spark.kubernetes.container.image=${spark.authenticate.secret}",
	} {
		properties := write(t, "p", hidden+text)
		for _, output := range outputs {
			for _, more := range [][]string{nil, {"--driver-pod", driver}} {
				code, stdout, stderr := call(append([]string{"gang", "--properties", properties, "--executor-template", templateFile, "-o", output}, more...)...)
				if strings.Contains(stdout+stderr, secret) {
					t.Errorf("%s, -o %s: exit code %d\n%s%s", name, output, code, stdout, stderr)
				}
			}
		}
	}
}

func TestBadInputIsOneLineAndExitCode2(t *testing.T) {
	good := write(t, "good", "")
	bad := func(text string) []string { return []string{"gang", "--properties", write(t, "bad", text)} }
	tests := map[string]struct {
		args []string
		want string // with FILE for the last argument
	}{
		"a wrong size":          {bad("spark.executor.memory=4Gi"), `error: spark.executor.memory="4Gi": not a size such as 512m or 4g (a whole number and one of b, k, m, g, t, p)`},
		"a wrong driver size":   {bad("spark.driver.memory=lots"), `error: spark.driver.memory="lots": not a size such as 512m or 4g (a whole number and one of b, k, m, g, t, p)`},
		"a broken file":         {bad("a=\\u12"), `error: --properties=FILE: spark.properties: line 1: a \u escape needs four hexadecimal digits`},
		"a missing file":        {[]string{"gang", "--properties", "/nowhere"}, "error: --properties=FILE: open /nowhere: no such file or directory"},
		"a folder":              {[]string{"gang", "--properties", "/"}, "error: --properties=FILE: read /: is a directory"},
		"a broken template":     {[]string{"gang", "--properties", good, "--executor-template", write(t, "t", "spec: {containers: 1}")}, "error: --executor-template=FILE: the executor pod template: not a pod: spec.containers is of the wrong kind: number"},
		"a broken driver":       {[]string{"gang", "--properties", good, "--driver-pod", write(t, "d", "[]")}, "error: --driver-pod=FILE: not a pod: the whole of it is of the wrong kind: array"},
		"another object":        {[]string{"gang", "--properties", good, "--driver-pod", write(t, "d", "kind: Service")}, `error: --driver-pod=FILE: kind "Service", want Pod`},
		"a driver alone":        {[]string{"gang", "--driver-pod", write(t, "d", "metadata: {name: d}")}, "error: pod d has no Spark properties to infer from and no annotation retinue.dev/roles"},
		"a wrong annotation":    {[]string{"gang", "--driver-pod", write(t, "d", "metadata: {annotations: {retinue.dev/workers: many}}")}, `error: annotation retinue.dev/workers="many": want the number of pods like this one that start together, 1 to 100000`},
		"no version":            {[]string{"gang", "--properties", good, "--spark-version", "four"}, `error: --spark-version: spark version "four": want numbers such as 4.1.0`},
		"no positive version":   {[]string{"gang", "--properties", good, "--spark-version", "-1.5"}, `error: --spark-version: spark version "-1.5": want numbers such as 4.1.0`},
		"a version, a driver":   {[]string{"gang", "driver", "--server", "https://127.0.0.1:1", "--spark-version", "four"}, `error: --spark-version: spark version "four": want numbers such as 4.1.0`},
		"less than nothing":     {bad("spark.executor.instances=-3"), `error: spark.executor.instances="-3": less than 0`},
		"a negative quantity":   {bad("spark.kubernetes.executor.request.cores=-2"), `error: spark.kubernetes.executor.request.cores="-2": negative`},
		"an absurd quantity":    {bad("spark.kubernetes.executor.limit.cores=1e999999999"), `error: spark.kubernetes.executor.limit.cores="1e999999999": not a Kubernetes quantity such as 1500m or 2`},
		"an absurd size":        {bad("spark.executor.memoryOverhead=9999999999999999999g"), `error: spark.executor.memoryOverhead="9999999999999999999g": size out of range`},
		"an unknown value":      {bad("spark.executor.cores=${env:CORES}"), `error: --properties=FILE: spark.executor.cores: "${env:CORES}" refers to the driver's surroundings, which are not known before it runs`},
		"too much":              {bad(strings.Repeat("#", spark.MaxBytes+1)), "error: --properties=FILE: more than 1572864 bytes"},
		"a template of another": {[]string{"gang", "--properties", good, "--executor-template", write(t, "t", "kind: Deployment")}, `error: --executor-template=FILE: the executor pod template: kind "Deployment", want Pod`},
		"a template of text":    {[]string{"gang", "--properties", good, "--executor-template", write(t, "t", "pod")}, "error: --executor-template=FILE: the executor pod template: not a pod: the whole of it is of the wrong kind: string"},
		"a template, no YAML":   {[]string{"gang", "--properties", good, "--executor-template", write(t, "t", "spec: [")}, "error: --executor-template=FILE: the executor pod template: not YAML: yaml: line 1: did not find expected node content"},
		"a negative sidecar":    {[]string{"gang", "--properties", good, "--executor-template", write(t, "t", "spec: {containers: [{name: a}, {name: b, resources: {requests: {memory: -1Gi}}}]}")}, `error: the executor pod template: spec.containers[0].resources.requests[memory]: Invalid value: "-1Gi": must not be negative`},
		"no template":           {[]string{"gang", "--properties", good, "--executor-template", "/nowhere"}, "error: --executor-template=FILE: open /nowhere: no such file or directory"},
		"no driver":             {[]string{"gang", "--properties", good, "--driver-pod", "/nowhere"}, "error: --driver-pod=FILE: open /nowhere: no such file or directory"},
		"a template alone":      {[]string{"gang", "--executor-template", good}, "error: name a driver pod, or give a file with --properties"},
		"a flag without value":  {[]string{"gang", "--properties"}, "error: flag needs an argument: --properties"},
		"a flag's wrong value":  {[]string{"gang", "driver", "--insecure-skip-tls-verify=maybe"}, `error: invalid argument "maybe" for "--insecure-skip-tls-verify" flag: strconv.ParseBool: parsing "maybe": invalid syntax`},
		"no name of a pod":      {[]string{"gang", "My_Driver"}, `error: driver pod "My_Driver": not the name of a pod`},
		"another kind":          {[]string{"gang", "deployment/x"}, `error: driver pod "deployment/x": not the name of a pod`},
		"an empty name":         {[]string{"gang", ""}, `error: driver pod "": not the name of a pod`},
		"no name of namespaces": {[]string{"gang", "driver", "--server", "https://127.0.0.1:1", "-n", "a b"}, `error: --namespace="a b": not the name of a namespace`},
		"no kubeconfig":         {[]string{"gang", "driver", "--kubeconfig", "/nowhere"}, "error: stat /nowhere: no such file or directory"},
		"no server":             {[]string{"gang", "driver", "--server", "ht tp://x"}, `error: parse "http://ht tp://x": invalid character " " in host name`},
		"an unknown form":       {[]string{"gang", "--properties", good, "--output", "xml"}, `error: --output="xml": want table, json or yaml`},
		"an unknown flag":       {[]string{"gang", "--propertees", good}, "error: unknown flag: --propertees"},
		"nothing":               {[]string{"gang"}, "error: name a driver pod, or give a file with --properties"},
		"a driver and files":    {[]string{"gang", "driver", "--properties", good}, "error: either a driver pod or files, not both"},
		"two drivers":           {[]string{"gang", "one", "two"}, "error: one driver pod at a time, not 2"},
		"an unknown subcommand": {[]string{"gong"}, `error: unknown command "gong" for "kubectl retinue"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(test.args...)
			want := strings.ReplaceAll(test.want, "FILE", test.args[len(test.args)-1]) + "\n"
			if diff := cmp.Diff(want, stderr); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if code != exitBadInput || stdout != "" {
				t.Errorf("exit code %d, output %q", code, stdout)
			}
		})
	}
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// What an answer rests on is said: the file, the version, the language, and what was not given.
func TestWhatAnAnswerRestsOnIsSaid(t *testing.T) {
	properties := write(t, "my.conf", `
spark.executor.memory=4096m
spark.executor.memoryOverhead=1200m
spark.executor.pyspark.memory=2000
spark.kubernetes.pyspark.pythonVersion=3
spark.kubernetes.executor.podTemplateFile=/etc/spark/exec.yaml
spark.kubernetes.driver.podTemplateFile=/etc/spark/driver.yaml
`)
	code, stdout, stderr := call("gang", "--properties", properties, "--spark-version", "4.1.4")
	if code != 0 || stderr != "" {
		t.Fatal(code, stderr)
	}
	for _, want := range []string{
		"source: " + properties + "\n",
		"spark: version 4.1, language java\n",
		"warning: the properties do not say the language, so java is assumed: in python an executor asks for cpu 1, memory 7296Mi; spark-submit writes spark.kubernetes.resource.type\n",
		`warning: the properties name the pod template "/etc/spark/exec.yaml" of the executors, which was not given: what it says is missing here; give it with --executor-template` + "\n",
		`warning: the properties name the pod template "/etc/spark/driver.yaml" of the driver, which was not given: what it says is missing here; give the driver pod with --driver-pod` + "\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in:\n%s", want, stdout)
		}
	}
	code, stdout, _ = call("gang", "--properties", properties, "--executor-template", write(t, "t", "spec: {}"))
	if code != 0 || strings.Contains(stdout, "of the executors, which was not given") {
		t.Errorf("exit code %d: %s", code, stdout)
	}
	code, _, stderr = call("gang", "--properties", write(t, "p", "spark.executor.cores=4\nspark.kubernetes.executor.limit.cores=2"))
	if want := `error: spark.kubernetes.executor.limit.cores="2": less than the 4 that are requested by spark.executor.cores="4", which the API server will refuse` + "\n"; code != exitBadInput || stderr != want {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// A driver pod has what admission added to it, which executors will most likely get as well.
func TestADriverPodsOwnNodeSelectorIsTakenIntoAccount(t *testing.T) {
	properties := write(t, "my.conf", java+"spark.kubernetes.scheduler.name=retinue")
	driver := write(t, "d", `
metadata: {labels: {spark-role: driver, spark-app-selector: a, spark-version: 3.5.9}}
spec:
  schedulerName: retinue
  nodeSelector: {pool: spark}
  containers: [{name: spark-kubernetes-driver, resources: {requests: {cpu: 1, memory: 1408Mi}, limits: {memory: 1408Mi}}}]
`)
	code, stdout, stderr := call("gang", "--properties", properties, "--driver-pod", driver)
	if code != 0 || stderr != "" {
		t.Fatal(code, stderr)
	}
	for _, want := range []string{
		`executor constraints: {"nodeSelector":{"pool":"spark"}}` + "\n",
		"assumed of executors, because the driver has it: node selector pool=spark\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in:\n%s", want, stdout)
		}
	}
}

func TestTheVersionOfTheCommand(t *testing.T) {
	code, stdout, stderr := call("--version")
	if code != 0 || stderr != "" || !strings.HasPrefix(stdout, "kubectl retinue version v") {
		t.Errorf("exit code %d: %q %q", code, stdout, stderr)
	}
}
