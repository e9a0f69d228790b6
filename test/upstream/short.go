package upstream

// Short is the short selection: packages, and the pattern of their tests. It has to take less than ten minutes on two cores, building not counted.
var Short = map[string]string{
	".":               ".*",
	"bind":            ".*",
	"extender":        ".*",
	"filters":         "TestNodeResourcesFilter|TestNodeAffinityFilter|TestNodePortsFilter|TestUnschedulablePodBecomesSchedulable",
	"preemption/misc": ".*",
	"queueing":        "TestCoreResourceEnqueue/^(NodeAffinity|NodeResourcesFit|TaintToleration)$",
	"taint":           ".*",
	Own:               ".*",
}
