package spark

import (
	"slices"
	"strings"
)

// Key describes one Spark setting that this package reads. Only these are kept from a driver's spark.properties.
type Key struct {
	Name    string // a name that ends in "." or contains "<" stands for a family of keys
	Default string // as Spark's documentation writes it; "" means that there is none
	Since   Version
	Unit    string // of a number without suffix; "" means that the value is no size
	Effect  string // what it does to the gang, as one sentence for the documentation
}

// The settings by name. docs/spark.md shows the table below.
const (
	executorInstances = "spark.executor.instances"
	executorCores     = "spark.executor.cores"
	requestCores      = "spark.kubernetes.executor.request.cores"
	limitCores        = "spark.kubernetes.executor.limit.cores"

	executorMemory         = "spark.executor.memory"
	executorOverhead       = "spark.executor.memoryOverhead"
	executorOverheadYarn   = "spark.yarn.executor.memoryOverhead"
	executorOverheadFactor = "spark.executor.memoryOverheadFactor"
	executorOverheadFloor  = "spark.executor.minMemoryOverhead"
	overheadFactor         = "spark.kubernetes.memoryOverheadFactor"
	offHeapEnabled         = "spark.memory.offHeap.enabled"
	offHeapSize            = "spark.memory.offHeap.size"
	pysparkMemory          = "spark.executor.pyspark.memory"
	resourceType           = "spark.kubernetes.resource.type"
	executorResource       = "spark.executor.resource."

	driverCores          = "spark.driver.cores"
	driverRequestCores   = "spark.kubernetes.driver.request.cores"
	driverLimitCores     = "spark.kubernetes.driver.limit.cores"
	driverMemory         = "spark.driver.memory"
	driverOverhead       = "spark.driver.memoryOverhead"
	driverOverheadYarn   = "spark.yarn.driver.memoryOverhead"
	driverOverheadFactor = "spark.driver.memoryOverheadFactor"
	driverOverheadFloor  = "spark.driver.minMemoryOverhead"
	driverResource       = "spark.driver.resource."
	driverMaster         = "spark.kubernetes.driver.master"

	dynamicEnabled   = "spark.dynamicAllocation.enabled"
	dynamicInitial   = "spark.dynamicAllocation.initialExecutors"
	dynamicMinimum   = "spark.dynamicAllocation.minExecutors"
	dynamicMaximum   = "spark.dynamicAllocation.maxExecutors"
	streamingEnabled = "spark.streaming.dynamicAllocation.enabled"
	streamingMinimum = "spark.streaming.dynamicAllocation.minExecutors"
	streamingMaximum = "spark.streaming.dynamicAllocation.maxExecutors"
	allocationBound  = "spark.kubernetes.allocation.maximum"

	scheduler         = "spark.kubernetes.scheduler.name"
	executorScheduler = "spark.kubernetes.executor.scheduler.name"
	driverScheduler   = "spark.kubernetes.driver.scheduler.name"

	nodeSelector         = "spark.kubernetes.node.selector."
	executorNodeSelector = "spark.kubernetes.executor.node.selector."
	driverNodeSelector   = "spark.kubernetes.driver.node.selector."
	executorLabel        = "spark.kubernetes.executor.label."
	executorAnnotation   = "spark.kubernetes.executor.annotation."
	executorVolume       = "spark.kubernetes.executor.volumes."
	executorSecret       = "spark.kubernetes.executor.secrets."
	executorNamePrefix   = "spark.kubernetes.executor.podNamePrefix"
	executorTemplate     = "spark.kubernetes.executor.podTemplateFile"
	driverTemplate       = "spark.kubernetes.driver.podTemplateFile"
	templateContainer    = "spark.kubernetes.executor.podTemplateContainerName"
	image                = "spark.kubernetes.container.image"
	executorImage        = "spark.kubernetes.executor.container.image"
	driverImage          = "spark.kubernetes.driver.container.image"
	blockManagerPort     = "spark.blockManager.port"
	featureSteps         = "spark.kubernetes.executor.pod.featureSteps"
	excludedSteps        = "spark.kubernetes.executor.pod.excludedFeatureSteps"
)

// keys is every setting that is read, in the order of the documentation.
var keys = []Key{
	{executorInstances, "2", Version{1, 0}, "", "How many executors a driver asks for at its start; with dynamic allocation, one of the lower bounds of that number."},
	{dynamicEnabled, "false", Version{1, 2}, "", "Dynamic allocation: the gang starts with the largest of the initial, the minimum and `spark.executor.instances`."},
	{dynamicInitial, "the minimum", Version{1, 3}, "", "Executors at the start, with dynamic allocation."},
	{dynamicMinimum, "0", Version{1, 2}, "", "Slots that the gang keeps once it runs, with dynamic allocation."},
	{dynamicMaximum, "unlimited", Version{1, 2}, "", "Executors that the application may grow to, with dynamic allocation; those above the start are elastic."},
	{streamingEnabled, "false", Version{2, 0}, "", "Dynamic allocation of streaming applications: starts with `spark.executor.instances`, changes later."},
	{streamingMinimum, "1", Version{2, 0}, "", "Slots that a streaming gang keeps once it runs."},
	{streamingMaximum, "unlimited", Version{2, 0}, "", "Executors that a streaming application may grow to."},
	{allocationBound, "unlimited", Version{4, 1}, "", "Spark creates one executor less than this in the whole life of an application; lowers the count."},
	{driverMaster, "", Version{3, 0}, "", "`local…` means that the driver works alone, or fails where the version does not know this: no executors."},

	{executorCores, "1", Version{1, 0}, "", "cpu request of an executor."},
	{requestCores, "", Version{2, 4}, "", "cpu request of an executor, as a Kubernetes quantity; wins over `spark.executor.cores`."},
	{limitCores, "", Version{2, 3}, "", "cpu limit of an executor, as a Kubernetes quantity."},
	{executorMemory, "1g", Version{0, 7}, "MiB", "Heap of an executor."},
	{executorOverhead, "", Version{2, 3}, "MiB", "Added to the heap; replaces factor and floor."},
	{executorOverheadYarn, "", Version{1, 0}, "MiB", "Old name of `spark.executor.memoryOverhead`, which wins."},
	{executorOverheadFactor, "", Version{3, 3}, "", "Overhead as a part of the heap; wins over `spark.kubernetes.memoryOverheadFactor`."},
	{executorOverheadFloor, "384m", Version{4, 0}, "MiB", "Least overhead that a factor gives; before 4.0 it is always 384 MiB."},
	{overheadFactor, "0.1, Python and R 0.4", Version{2, 4}, "", "Overhead as a part of the heap, for driver and executors. spark-submit writes the resolved default into spark.properties."},
	{offHeapEnabled, "false", Version{1, 6}, "", "Adds `spark.memory.offHeap.size` to an executor's memory."},
	{offHeapSize, "0", Version{1, 6}, "bytes", "Memory outside of the heap, in whole MiB."},
	{pysparkMemory, "", Version{2, 4}, "MiB", "Added to an executor's memory if the application is written in Python."},
	{resourceType, "java", Version{2, 4}, "", "`java`, `python` or `r`; written by spark-submit."},
	{executorResource, "", Version{3, 0}, "", "`<name>.amount` and `<name>.vendor`: an executor's limit of the extended resource vendor/name."},

	{executorScheduler, "", Version{3, 0}, "", "Scheduler of the executors; wins over `spark.kubernetes.scheduler.name`."},
	{scheduler, "", Version{3, 3}, "", "Scheduler of driver and executors; wins over the pod template."},
	{nodeSelector, "", Version{2, 3}, "", "Node labels that driver and executors ask for."},
	{executorNodeSelector, "", Version{3, 3}, "", "Node labels that executors ask for."},
	{executorLabel, "", Version{2, 3}, "", "Labels of the executors, which affinity and topology spread may select by."},
	{executorAnnotation, "", Version{2, 3}, "", "Annotations of the executors: only whether the API server takes their names; values are not kept."},
	{executorVolume, "", Version{2, 4}, "", "Volumes of the executors; existing persistent volume claims bind executors to nodes."},
	{executorSecret, "", Version{2, 3}, "", "Secrets that executors mount: only whether the API server takes the names of the volumes; paths are not kept."},
	{executorNamePrefix, "", Version{2, 3}, "", "Names of the executors: only whether the API server takes them."},
	{executorTemplate, "", Version{3, 0}, "", "The pod template of the executors; spark-submit puts it into a ConfigMap that the driver mounts."},
	{templateContainer, "", Version{3, 0}, "", "The container of the pod template that becomes Spark's; otherwise it is the first."},
	{executorImage, "", Version{2, 3}, "", "Image of the executors; wins over `spark.kubernetes.container.image`. Nodes that have it score better."},
	{image, "", Version{2, 3}, "", "Image of driver and executors."},
	{blockManagerPort, "7079", Version{1, 1}, "", "Host port of an executor if its template uses the host's network."},
	{featureSteps, "", Version{3, 2}, "", "User code that changes executor pods: only a warning, the first executor tells the truth."},
	{excludedSteps, "", Version{4, 1}, "", "Parts of Spark that build executor pods and are left out: only a warning."},

	{driverCores, "1", Version{1, 3}, "", "cpu request of the driver."},
	{driverRequestCores, "", Version{3, 0}, "", "cpu request of the driver, as a Kubernetes quantity; wins over `spark.driver.cores`."},
	{driverLimitCores, "", Version{2, 3}, "", "cpu limit of the driver, as a Kubernetes quantity."},
	{driverMemory, "1g", Version{1, 1}, "MiB", "Heap of the driver."},
	{driverOverhead, "", Version{2, 3}, "MiB", "Added to the driver's heap; replaces factor and floor."},
	{driverOverheadYarn, "", Version{1, 0}, "MiB", "Old name of `spark.driver.memoryOverhead`, which wins."},
	{driverOverheadFactor, "", Version{3, 3}, "", "Overhead as a part of the driver's heap; wins over `spark.kubernetes.memoryOverheadFactor`."},
	{driverOverheadFloor, "384m", Version{4, 0}, "MiB", "Least overhead of the driver that a factor gives."},
	{driverResource, "", Version{3, 0}, "", "`<name>.amount` and `<name>.vendor`: the driver's limit of the extended resource vendor/name."},
	{driverScheduler, "", Version{3, 3}, "", "Scheduler of the driver; wins over `spark.kubernetes.scheduler.name`."},
	{driverNodeSelector, "", Version{3, 3}, "", "Node labels that the driver asks for."},
	{driverTemplate, "", Version{3, 0}, "", "The pod template of the driver: with one nothing that the driver has is assumed of executors."},
	{driverImage, "", Version{2, 3}, "", "Image of the driver; wins over `spark.kubernetes.container.image`."},
}

// Keys lists every setting that is read, in the order of the documentation.
func Keys() []Key { return slices.Clone(keys) }

// keyIndex is name -> position in keys, for keys that are no family.
var keyIndex = func() map[string]int {
	index := make(map[string]int, len(keys))
	for i, key := range keys {
		index[key.Name] = i
	}
	return index
}()

// find returns the description of a key, or of the family that it belongs to.
func find(name string) (Key, bool) {
	if i, found := keyIndex[name]; found && !keys[i].family() {
		return keys[i], true
	}
	for _, key := range keys {
		if key.family() && len(name) > len(key.Name) && strings.HasPrefix(name, key.Name) {
			return key, true
		}
	}
	return Key{}, false
}

// family tells whether the name is a prefix of the keys it stands for.
func (k Key) family() bool { return strings.HasSuffix(k.Name, ".") }

// nameOnly tells whether the value of the setting is nobody's business.
func (k Key) nameOnly() bool { return k.Name == executorAnnotation || k.Name == executorSecret }

// raw tells whether Spark reads the value without resolving references to other settings.
func (k Key) raw() bool { return k.family() || k.Name == blockManagerPort }
