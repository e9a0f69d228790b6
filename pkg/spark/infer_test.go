package spark

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// shape is the numbers of a gang, in the form people write them.
type shape struct {
	Driver, Executor string // cpu and memory
	Count, Minimum   int
	Maximum          int // -1 means without limit
}

func driverPod(version string) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "etl-driver", UID: "uid-1", Labels: map[string]string{
			LabelRole: RoleDriver, LabelApp: "spark-0123", LabelVersion: version, LabelAppName: "etl",
		}},
		Spec: v1.PodSpec{SchedulerName: "retinue"},
	}
}

// withScheduler adds what every user of this scheduler sets.
func withScheduler(text string) string {
	return "spark.kubernetes.scheduler.name=retinue\n" + text
}

func parsed(t *testing.T, text string) Properties {
	t.Helper()
	properties, err := ParseProperties(withScheduler(text))
	if err != nil {
		t.Fatal(err)
	}
	return properties
}

func TestInferSizesLikeSpark(t *testing.T) {
	const python = "spark.kubernetes.resource.type=python\nspark.kubernetes.memoryOverheadFactor=0.4\n"
	tests := map[string]struct {
		version, text string
		want          shape
	}{
		"nothing is set": {
			want: shape{"cpu 1, memory 1408Mi", "cpu 1, memory 1408Mi", 2, 2, 2},
		},
		"memory, cores and instances": {
			text: "spark.driver.memory=4g\nspark.executor.memory=8g\nspark.executor.cores=4\nspark.executor.instances=10",
			want: shape{"cpu 1, memory 4505Mi", "cpu 4, memory 9011Mi", 10, 10, 10},
		},
		"the same in Python": {
			text: python + "spark.driver.memory=4g\nspark.executor.memory=8g\nspark.executor.cores=4\nspark.executor.instances=10",
			want: shape{"cpu 1, memory 5734Mi", "cpu 4, memory 11468Mi", 10, 10, 10},
		},
		"Python before spark-submit has resolved the factor": {
			text: "spark.kubernetes.resource.type=python\nspark.driver.memory=4g\nspark.executor.memory=8g",
			want: shape{"cpu 1, memory 5734Mi", "cpu 1, memory 11468Mi", 2, 2, 2},
		},
		"Python with its own memory and off-heap memory": {
			text: python + "spark.driver.memory=2g\nspark.executor.memory=8g\nspark.executor.pyspark.memory=2g\nspark.memory.offHeap.enabled=true\nspark.memory.offHeap.size=1g",
			want: shape{"cpu 1, memory 2867Mi", "cpu 1, memory 14540Mi", 2, 2, 2},
		},
		"Python's memory is not added in Java": {
			text: "spark.executor.pyspark.memory=2g",
			want: shape{"cpu 1, memory 1408Mi", "cpu 1, memory 1408Mi", 2, 2, 2},
		},
		"off-heap memory is in bytes and cut to whole MiB": {
			text: "spark.memory.offHeap.enabled=true\nspark.memory.offHeap.size=10485759",
			want: shape{"cpu 1, memory 1408Mi", "cpu 1, memory 1417Mi", 2, 2, 2},
		},
		"off-heap memory that is not enabled": {
			text: "spark.memory.offHeap.size=1g",
			want: shape{"cpu 1, memory 1408Mi", "cpu 1, memory 1408Mi", 2, 2, 2},
		},
		"an absolute overhead": {
			text: "spark.executor.memory=20g\nspark.executor.memoryOverhead=2g",
			want: shape{"cpu 1, memory 1408Mi", "cpu 1, memory 22Gi", 2, 2, 2},
		},
		"an absolute overhead may shrink the pod": {
			text: "spark.executor.memoryOverhead=100\nspark.driver.memoryOverhead=0",
			want: shape{"cpu 1, memory 1Gi", "cpu 1, memory 1124Mi", 2, 2, 2},
		},
		"a factor of the executor's own": {
			text: python + "spark.driver.memory=8g\nspark.executor.memory=16g\nspark.executor.memoryOverheadFactor=0.2",
			want: shape{"cpu 1, memory 11468Mi", "cpu 1, memory 19660Mi", 2, 2, 2},
		},
		"a floor means nothing to 3.5": {
			version: "3.5.9",
			text:    "spark.executor.memory=2g\nspark.executor.minMemoryOverhead=1g",
			want:    shape{"cpu 1, memory 1408Mi", "cpu 1, memory 2432Mi", 2, 2, 2},
		},
		"a floor since 4.0": {
			version: "4.0.0",
			text:    "spark.executor.memory=2g\nspark.executor.minMemoryOverhead=1g\nspark.driver.minMemoryOverhead=512m",
			want:    shape{"cpu 1, memory 1536Mi", "cpu 1, memory 3Gi", 2, 2, 2},
		},
		"an unknown version takes the larger floor": {
			version: "?",
			text:    "spark.executor.memory=2g\nspark.executor.minMemoryOverhead=1g",
			want:    shape{"cpu 1, memory 1408Mi", "cpu 1, memory 3Gi", 2, 2, 2},
		},
		"an unknown version takes the larger floor also when that is the fixed one": {
			version: "?",
			text:    "spark.executor.memory=2g\nspark.executor.minMemoryOverhead=1m",
			want:    shape{"cpu 1, memory 1408Mi", "cpu 1, memory 2432Mi", 2, 2, 2},
		},
		"an own cpu request and a GPU": {
			text: "spark.executor.cores=4\nspark.kubernetes.executor.request.cores=1500m\nspark.kubernetes.executor.limit.cores=4\n" +
				"spark.executor.resource.gpu.amount=1\nspark.executor.resource.gpu.vendor=nvidia.com\nspark.executor.memory=4g",
			want: shape{"cpu 1, memory 1408Mi", "cpu 1500m, memory 4505Mi, nvidia.com/gpu 1", 2, 2, 2},
		},
		"dynamic allocation": {
			text: python + "spark.dynamicAllocation.enabled=true\nspark.dynamicAllocation.minExecutors=2\nspark.dynamicAllocation.initialExecutors=4\n" +
				"spark.executor.instances=3\nspark.dynamicAllocation.maxExecutors=50\nspark.executor.memory=1g",
			want: shape{"cpu 1, memory 1433Mi", "cpu 1, memory 1433Mi", 4, 2, 50},
		},
		"dynamic allocation without numbers": {
			text: "spark.dynamicAllocation.enabled=true",
			want: shape{"cpu 1, memory 1408Mi", "cpu 1, memory 1408Mi", 0, 0, -1},
		},
		"dynamic allocation that starts with the instances": {
			text: "spark.dynamicAllocation.enabled=TRUE\nspark.executor.instances=7\nspark.dynamicAllocation.minExecutors=3",
			want: shape{"cpu 1, memory 1408Mi", "cpu 1, memory 1408Mi", 7, 3, -1},
		},
		"dynamic allocation starts with the minimum": {
			text: "spark.dynamicAllocation.enabled=true\nspark.dynamicAllocation.minExecutors=3\nspark.dynamicAllocation.maxExecutors=2147483647",
			want: shape{"cpu 1, memory 1408Mi", "cpu 1, memory 1408Mi", 3, 3, -1},
		},
		"streaming dynamic allocation": {
			text: "spark.streaming.dynamicAllocation.enabled=true\nspark.executor.instances=4\nspark.streaming.dynamicAllocation.maxExecutors=9",
			want: shape{"cpu 1, memory 1408Mi", "cpu 1, memory 1408Mi", 4, 1, 9},
		},
		"a bound on all executors ever, since 4.1": {
			version: "4.1.0",
			text:    "spark.executor.instances=7\nspark.kubernetes.allocation.maximum=5",
			want:    shape{"cpu 1, memory 1408Mi", "cpu 1, memory 1408Mi", 4, 4, 4},
		},
		"a bound on all executors ever means nothing to 4.0": {
			version: "4.0.5",
			text:    "spark.executor.instances=7\nspark.kubernetes.allocation.maximum=5",
			want:    shape{"cpu 1, memory 1408Mi", "cpu 1, memory 1408Mi", 7, 7, 7},
		},
		"little memory gets the least overhead": {
			text: "spark.executor.memory=512m\nspark.driver.memory=512m",
			want: shape{"cpu 1, memory 896Mi", "cpu 1, memory 896Mi", 2, 2, 2},
		},
		"a driver that works alone": {
			text: "spark.kubernetes.driver.master=local[*]\nspark.executor.instances=8",
			want: shape{Driver: "cpu 1, memory 1408Mi"},
		},
		"just at the floor of 0.1": {
			text: "spark.driver.memory=3840m\nspark.executor.memory=3841m",
			want: shape{"cpu 1, memory 4224Mi", "cpu 1, memory 4225Mi", 2, 2, 2},
		},
		"just above the floor of 0.1": {
			text: "spark.driver.memory=3850m\nspark.executor.memory=3850m",
			want: shape{"cpu 1, memory 4235Mi", "cpu 1, memory 4235Mi", 2, 2, 2},
		},
		"at the floor of 0.4": {
			text: python + "spark.driver.memory=960m\nspark.executor.memory=1024m",
			want: shape{"cpu 1, memory 1344Mi", "cpu 1, memory 1433Mi", 2, 2, 2},
		},
		"memory without a suffix is in MiB": {
			text: "spark.driver.memory=2048\nspark.executor.memory=10240",
			want: shape{"cpu 1, memory 2432Mi", "cpu 1, memory 11Gi", 2, 2, 2},
		},
		"the driver's own cpu": {
			text: "spark.driver.cores=3\nspark.kubernetes.driver.request.cores=250m\nspark.driver.memoryOverheadFactor=1.0\nspark.driver.resource.fpga.amount=2\nspark.driver.resource.fpga.vendor=intel.com",
			want: shape{"cpu 250m, memory 2Gi, intel.com/fpga 2", "cpu 1, memory 1408Mi", 2, 2, 2},
		},
		"a reference to another setting": {
			text: "spark.executor.memory=${spark.driver.memory}\nspark.driver.memory=${spark.my.size}\nspark.my.size=2g",
			want: shape{"cpu 1, memory 2432Mi", "cpu 1, memory 2432Mi", 2, 2, 2},
		},
		"a reference to a default": {
			text: "spark.executor.memory=${spark.driver.memory}",
			want: shape{"cpu 1, memory 1408Mi", "cpu 1, memory 1408Mi", 2, 2, 2},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			version := "4.2.0"
			if test.version != "" {
				version = test.version
			}
			properties := parsed(t, test.text)
			definition, err := Infer(driverPod(version), properties, nil)
			if err != nil {
				t.Fatal(err)
			}
			known, err := ParseVersion(version)
			if err != nil {
				known = v33
			}
			driver, err := Driver(properties, known)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, shapeOf(driver, definition.Role(RoleExecutor))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// Seen failing when errors and warnings repeated the resolved value.
func TestNoMessageTellsTheValueThatAReferenceBringsIn(t *testing.T) {
	const secret = "hunter2"
	told := 0
	for _, key := range Keys() {
		if key.raw() {
			continue // nothing is brought in
		}
		text := key.Name + "=${spark.hadoop.fs.s3a.secret.key}\nspark.hadoop.fs.s3a.secret.key=" + secret + "\n"
		for _, more := range []string{"", "spark.dynamicAllocation.enabled=true", "spark.streaming.dynamicAllocation.enabled=true", "spark.memory.offHeap.enabled=true"} {
			properties, err := ParseProperties(text + more)
			if err != nil {
				t.Fatal(err)
			}
			definition, inferred := Infer(driverPod("4.2.0"), properties, nil)
			_, sized := Driver(properties, Latest)
			for _, message := range append(definition.Warnings, fmt.Sprint(inferred), fmt.Sprint(sized)) {
				if strings.Contains(message, "spark.hadoop") {
					told++
				}
				if strings.Contains(message, secret) {
					t.Errorf("%s: %s", key.Name, message)
				}
			}
		}
	}
	if told == 0 {
		t.Error("no message repeats what is written: nothing was tried")
	}
}

func TestBadSettingsAreNamedWithTheirValue(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"a fraction of a gigabyte":            {"spark.executor.memory=1.5g", `spark.executor.memory="1.5g": not a size such as 512m or 4g (a whole number and one of b, k, m, g, t, p)`},
		"a Kubernetes quantity":               {"spark.executor.memory=4Gi", `spark.executor.memory="4Gi": not a size such as 512m or 4g (a whole number and one of b, k, m, g, t, p)`},
		"no memory at all":                    {"spark.executor.memory=0", `spark.executor.memory="0": less than 1m`},
		"an empty size":                       {"spark.executor.memory=", `spark.executor.memory="": not a size such as 512m or 4g (a whole number and one of b, k, m, g, t, p)`},
		"a negative size":                     {"spark.executor.memory=-1g", `spark.executor.memory="-1g": not a size such as 512m or 4g (a whole number and one of b, k, m, g, t, p)`},
		"an absurd size":                      {"spark.executor.memory=9000p", `spark.executor.memory="9000p": size out of range`},
		"more than any node":                  {"spark.executor.memory=65t", `spark.executor.memory="65t": more than 64 TiB`},
		"a word for a number":                 {"spark.executor.instances=ten", `spark.executor.instances="ten": not a whole number`},
		"too many executors":                  {"spark.executor.instances=99999999999", `spark.executor.instances="99999999999": number out of range`},
		"a negative number":                   {"spark.executor.instances=-1", `spark.executor.instances="-1": less than 0`},
		"no core":                             {"spark.executor.cores=0", `spark.executor.cores="0": less than 1`},
		"no quantity":                         {"spark.kubernetes.executor.request.cores=two", `spark.kubernetes.executor.request.cores="two": not a Kubernetes quantity such as 1500m or 2`},
		"a negative quantity":                 {"spark.kubernetes.executor.limit.cores=-1", `spark.kubernetes.executor.limit.cores="-1": negative`},
		"a factor that is no number":          {"spark.executor.memoryOverheadFactor=10%", `spark.executor.memoryOverheadFactor="10%": not a number`},
		"a factor of infinity":                {"spark.kubernetes.memoryOverheadFactor=Infinity", `spark.kubernetes.memoryOverheadFactor="Infinity": not a number`},
		"a negative factor":                   {"spark.executor.memoryOverheadFactor=-0.1", `spark.executor.memoryOverheadFactor="-0.1": negative`},
		"no factor at all":                    {"spark.executor.memoryOverheadFactor=0", `spark.executor.memoryOverheadFactor="0": not greater than 0, Spark will refuse to start`},
		"off-heap memory without size":        {"spark.memory.offHeap.enabled=true", `spark.memory.offHeap.enabled="true": needs spark.memory.offHeap.size, Spark will refuse to start`},
		"off-heap memory of nothing":          {"spark.memory.offHeap.enabled=true\nspark.memory.offHeap.size=1023k", `spark.memory.offHeap.size="1023k": less than 1m`},
		"neither true nor false":              {"spark.dynamicAllocation.enabled=yes", `spark.dynamicAllocation.enabled="yes": neither true nor false`},
		"a maximum below the start":           {"spark.dynamicAllocation.enabled=true\nspark.dynamicAllocation.minExecutors=5\nspark.dynamicAllocation.maxExecutors=4", `spark.dynamicAllocation.maxExecutors=4: less than the 5 executors of the start, Spark will refuse to start`},
		"a device without vendor":             {"spark.executor.resource.gpu.amount=1", `spark.executor.resource.gpu.amount="1": needs spark.executor.resource.gpu.vendor, Spark will refuse to start`},
		"a device without number":             {"spark.executor.resource.gpu.amount=one\nspark.executor.resource.gpu.vendor=nvidia.com", `spark.executor.resource.gpu.amount="one": not a whole number`},
		"a port that does not exist":          {"spark.blockManager.port=80", `spark.blockManager.port="80": not a port: 0, or 1024 to 65535`},
		"a long value is cut":                 {"spark.executor.memory=" + strings.Repeat("9", 1000), `spark.executor.memory="` + strings.Repeat("9", 64) + `"…: size out of range`},
		"a reference that nobody can resolve": {"spark.executor.memory=${spark.nobody}", `spark.executor.memory="${spark.nobody}": not a size such as 512m or 4g (a whole number and one of b, k, m, g, t, p)`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Infer(driverPod("4.2.0"), parsed(t, test.text), nil)
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
