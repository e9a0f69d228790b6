package main

import (
	_ "embed"
	"slices"
)

//go:embed files/template.yaml
var template string

// testCase is one way of submitting an application.
type testCase struct {
	name     string
	conf     []string // key=value
	template string   // of the executors; "" means none
	// executors is how many the driver has to ask for at its start; -1 means that the prediction is compared with the
	// driver's log only.
	executors int
	// asked is how many the driver's log says it asks for; 0 means as many as it gets.
	asked  int
	python bool
	// statefulSet tells that the executors come from a StatefulSet, whose template stands for them.
	statefulSet bool
	// telling cases of the edges run on every version, the others on the newest only.
	telling bool
	// since is the first version with the settings of the case; "" means every version.
	since string
}

// basics are tried with JVM and Python on every version.
var basics = []testCase{
	{name: "defaults", executors: 2},
	{name: "overhead keys", executors: 2, conf: []string{
		"spark.driver.memory=700m", "spark.driver.memoryOverheadFactor=0.7",
		"spark.executor.memory=5000m", "spark.executor.memoryOverheadFactor=0.29", "spark.executor.minMemoryOverhead=1500m",
		"spark.driver.minMemoryOverhead=600m",
	}},
	{name: "pyspark memory", executors: 2, conf: []string{
		"spark.executor.pyspark.memory=300m", "spark.executor.memory=3g",
	}},
	{name: "off-heap", executors: 2, conf: []string{
		"spark.memory.offHeap.enabled=true", "spark.memory.offHeap.size=1073741825", "spark.executor.memoryOverhead=100", "spark.executor.memory=2g",
	}},
	{name: "request.cores", executors: 1, conf: []string{
		"spark.executor.cores=4", "spark.kubernetes.executor.request.cores=1500m", "spark.kubernetes.executor.limit.cores=4.5",
		"spark.kubernetes.driver.request.cores=0.25", "spark.kubernetes.driver.limit.cores=2", "spark.executor.instances=1",
	}},
	{name: "template", executors: 3, template: template, conf: []string{
		"spark.executor.instances=3", "spark.kubernetes.executor.podTemplateContainerName=main",
		"spark.kubernetes.node.selector.pool=batch", "spark.kubernetes.executor.node.selector.disk=nvme",
		"spark.kubernetes.executor.label.team=data",
	}},
	{name: "dynamic allocation", executors: 4, conf: []string{
		"spark.dynamicAllocation.enabled=true", "spark.dynamicAllocation.shuffleTracking.enabled=true", "spark.dynamicAllocation.minExecutors=2",
		"spark.dynamicAllocation.initialExecutors=4", "spark.executor.instances=3", "spark.dynamicAllocation.maxExecutors=50",
	}},
	{name: "GPU", executors: 2, conf: []string{
		"spark.executor.resource.gpu.amount=2", "spark.executor.resource.gpu.vendor=nvidia.com",
		"spark.driver.resource.gpu.amount=1", "spark.driver.resource.gpu.vendor=nvidia.com", "spark.driver.resource.gpu.discoveryScript=./gpu.sh",
	}},
}

// edges are what users do less often.
var edges = []testCase{
	{name: "absolute overhead", executors: 2, conf: []string{
		"spark.executor.memory=20g", "spark.executor.memoryOverhead=2g", "spark.driver.memoryOverhead=1",
	}},
	{name: "old overhead keys", executors: 2, conf: []string{
		"spark.yarn.executor.memoryOverhead=777", "spark.yarn.driver.memoryOverhead=555",
	}},
	{name: "common factor", executors: 2, python: true, conf: []string{
		"spark.kubernetes.memoryOverheadFactor=0.57", "spark.executor.memory=1000m", "spark.driver.memory=1000m",
	}},
	{name: "references", executors: 3, conf: []string{
		"spark.my.number=3", "spark.my.size=1500m", "spark.driver.memoryOverhead=${spark.my.size}", "spark.kubernetes.executor.request.cores=0.${spark.my.number}",
		"spark.executor.memoryOverhead=${spark.driver.memoryOverhead}", "spark.memory.offHeap.enabled=${spark.dynamicAllocation.enabled}",
		"spark.dynamicAllocation.enabled=true", "spark.dynamicAllocation.shuffleTracking.enabled=true",
		"spark.memory.offHeap.size=${spark.executor.memory}", "spark.dynamicAllocation.minExecutors=${spark.my.number}",
	}},
	{name: "odd spellings", executors: 2, conf: []string{
		"spark.executor.memory= 1536M ", "spark.driver.memory=1G", "spark.executor.memoryOverhead= 400MB ", "spark.memory.offHeap.enabled= TRUE ",
		"spark.memory.offHeap.size=100MB", "spark.kubernetes.executor.request.cores=1.5",
		"spark.kubernetes.node.selector.a.b/c=x_y.z", "spark.my.escapes=a:b=c#d!e\\f\u00e9\u4e16",
	}},
	{name: "placeholders", executors: 2, since: "4.1", conf: []string{
		"spark.kubernetes.executor.label.app={{APP_ID}}-x", "spark.kubernetes.executor.container.image=retinue.test/executor:{{SPARK_VERSION}}",
	}},
	{name: "first container of a template", executors: 2, template: template, conf: []string{
		"spark.kubernetes.executor.podTemplateContainerName=nobody", "spark.kubernetes.executor.limit.cores=2",
	}},
	{name: "host network", executors: 2, telling: true, conf: []string{"spark.blockManager.port=17079"},
		template: "spec:\n  hostNetwork: true\n  containers:\n    - name: side\n      image: side\n      ports: [{containerPort: 9999}]\n    - name: other\n      image: other\n      ports: [{containerPort: 8888}]\n"},
	{name: "volumes", executors: 2, conf: []string{
		"spark.kubernetes.executor.volumes.persistentVolumeClaim.data.options.claimName=shared", "spark.kubernetes.executor.volumes.persistentVolumeClaim.data.mount.path=/data",
		"spark.kubernetes.executor.volumes.emptyDir.scratch.mount.path=/scratch", "spark.kubernetes.local.dirs.tmpfs=true",
	}},
	{name: "own scheduler of the executors", executors: -1, conf: []string{"spark.kubernetes.executor.scheduler.name=other"}},
	{name: "scheduler named by a template", executors: -1, template: "spec: {schedulerName: third}", conf: []string{"spark.kubernetes.executor.scheduler.name=other"}},
	{name: "dynamic allocation from zero", executors: 0, conf: []string{
		"spark.dynamicAllocation.enabled=true", "spark.dynamicAllocation.shuffleTracking.enabled=true",
	}},
	{name: "StatefulSet", executors: 2, statefulSet: true, conf: []string{"spark.kubernetes.allocation.pods.allocator=statefulset"}},
	{name: "driver only", executors: 0, conf: []string{"spark.kubernetes.driver.master=local[2]", "spark.executor.instances=8"}, telling: true, since: "3.4"},
	{name: "bound on all executors", executors: 2, asked: 5, conf: []string{"spark.executor.instances=5", "spark.kubernetes.allocation.maximum=3"}, since: "4.1"},
}

// casesFor is what runs on one version. complete means all: every basic case with JVM and Python, and every edge.
// Otherwise the basic cases run with the languages in turn, which shows every setting and both languages.
func casesFor(version string, complete bool) []testCase {
	var cases []testCase
	for i, basic := range basics {
		for _, python := range []bool{false, true} {
			if basic.python = python; complete || python == (i%2 == 0) {
				cases = append(cases, basic)
			}
		}
	}
	for _, edge := range edges {
		if (complete || edge.telling) && (edge.since == "" || slices.Compare(numbers(version), numbers(edge.since)) >= 0) {
			cases = append(cases, edge)
		}
	}
	return cases
}

func (c testCase) language() string {
	if c.python {
		return "Python"
	}
	return "JVM"
}
