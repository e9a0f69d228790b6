package view

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

// Outcome is how one examination ended.
type Outcome string

const (
	Well    Outcome = "ok"
	Problem Outcome = "problem"
	// Unknown: what would have to be read may not be.
	Unknown Outcome = "unknown"
)

// Examination is one thing that was looked at.
type Examination struct {
	// Name is stable, for scripts.
	Name    string  `json:"name"`
	Outcome Outcome `json:"outcome"`
	// Findings are what is wrong, or what could not be read.
	Findings []string `json:"findings"`
	// Cure is what to do about it.
	Cure string `json:"cure,omitempty"`
}

// Examined makes one of what was found.
func Examined(name, cure string, findings []string) Examination {
	e := Examination{Name: name, Outcome: Well, Findings: []string{}}
	if len(findings) > 0 {
		e.Outcome, e.Cure = Problem, cure
		if more := len(findings) - maxFindings; more > 0 {
			findings = append(findings[:maxFindings:maxFindings], fmt.Sprintf("and %d more", more))
		}
		e.Findings = append(e.Findings, findings...)
	}
	return e
}

// Unexamined is one that was not possible.
func Unexamined(name, why string) Examination {
	return Examination{Name: name, Outcome: Unknown, Findings: []string{why}}
}

// maxFindings is how many of one kind are told.
const maxFindings = 10

// ExamineQueues examines what is written in queues, with the nodes there are. everyNamespace tells that all namespaces could be read.
func (c *Cluster) ExamineQueues(everyNamespace bool) []Examination {
	if len(c.objects.Queues) == 0 {
		return []Examination{Unexamined("queues", "there are no Queues, or they may not be read")}
	}
	var specs []quota.Spec
	for _, queue := range c.objects.Queues {
		specs = append(specs, quota.OfQueue(queue))
	}
	tree := quota.New(specs)
	_, problems := quota.Assign(c.objects.Queues, c.objects.Namespaces)
	problems = append(problems, tree.Problems()...)
	written := map[quota.Problem]bool{}
	var asWritten, guarantees []string
	for _, problem := range problems {
		written[problem] = true
		asWritten = append(asWritten, Clean(problem.String()))
	}
	examined := []Examination{Examined("queues are as written", "correct the spec of the queue: until then, what the message says counts", asWritten)}
	const name, cure = "guarantees are there", "lower the guarantees, or add nodes: until then every guarantee shrinks in proportion"
	if c.objects.Nodes == nil {
		examined = append(examined, Unexamined(name, "you may not read nodes"))
	} else {
		nodes := inventory.New(v1.LabelTopologyZone)
		for _, node := range c.objects.Nodes {
			nodes.See(node)
		}
		var selectors []labels.Selector
		for _, pool := range quota.Pools(tree) {
			selectors = append(selectors, pool.Selector)
		}
		nodes.Divide(selectors)
		nodes.Settle()
		tree.SetCapacity(nodes.Capacities()...)
		for _, problem := range tree.Problems() {
			if !written[problem] {
				guarantees = append(guarantees, Clean(problem.String()))
			}
		}
		examined = append(examined, Examined(name, cure, guarantees))
	}
	return append(examined, c.examineEmpty(everyNamespace))
}

// examineEmpty finds queues that nobody can be in.
func (c *Cluster) examineEmpty(everyNamespace bool) Examination {
	peopled := map[string]bool{}
	for _, queue := range c.assigned {
		name, _, _ := strings.Cut(queue, "/")
		peopled[name] = true
	}
	for _, queue := range c.objects.Queues {
		peopled[queue.Spec.Parent] = true
	}
	var findings []string
	for _, name := range slices.Sorted(maps.Keys(c.queues)) {
		if !peopled[name] && (everyNamespace || c.queues[name].Spec.NamespaceSelector == nil) {
			findings = append(findings, fmt.Sprintf("queue %s has neither namespaces nor queues below it", name))
		}
	}
	return Examined("queues have namespaces", "name namespaces in spec.namespaces, or select them by labels that they have", findings)
}

// ExamineQuotas finds ResourceQuotas by which the API server refuses pods before their queue is at its limit: executors of a driver that
// runs are refused then, and nobody is told.
func (c *Cluster) ExamineQuotas(quotas []*v1.ResourceQuota) Examination {
	var findings []string
	for _, object := range quotas {
		queue := c.queues[c.assigned[object.Namespace]]
		if queue == nil {
			continue
		}
		limit := listOf(queue.Spec.Limit)
		what := "limit"
		if len(limit) == 0 {
			limit, what = listOf(queue.Spec.Guaranteed), "guarantee"
		}
		for _, name := range names(limit) {
			for _, key := range []v1.ResourceName{name, v1.DefaultResourceRequestsPrefix + name} {
				hard, counted := object.Spec.Hard[key]
				if bound := limit[name]; counted && hard.Cmp(bound) < 0 {
					findings = append(findings, fmt.Sprintf("ResourceQuota %s/%s allows %s %s, and the %s of queue %s is %s",
						object.Namespace, object.Name, key, hard.String(), what, queue.Name, bound.String()))
				}
			}
		}
	}
	return Examined("quotas let queues be used", "raise the ResourceQuota above what the queue may use, or drop it: a queue makes pods wait, and a quota has them refused", findings)
}

// ExamineNames finds pods that ask for a scheduler that nobody is. known are the names of those there are.
func ExamineNames(o Objects, known ...string) Examination {
	const patience = time.Minute
	counts := map[string]int{}
	example := map[string]string{}
	for _, pod := range o.Pods {
		name := pod.Spec.SchedulerName
		if name == "" || name == v1.DefaultSchedulerName || slices.Contains(known, name) || pod.Spec.NodeName != "" || over(pod) ||
			condition(pod, v1.PodScheduled) != nil || o.Now.Sub(pod.CreationTimestamp.Time) < patience {
			continue
		}
		if counts[name]++; example[name] == "" {
			example[name] = pod.Namespace + "/" + pod.Name
		}
	}
	var findings []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		like := ""
		for _, one := range known {
			if distance(name, one) <= 2 {
				like = fmt.Sprintf(": did somebody mean %q?", one)
			}
		}
		findings = append(findings, fmt.Sprintf("%s ask for the scheduler %q, of which none has heard, such as %s%s", gang.Counted(counts[name], "pod"), Clean(name), example[name], like))
	}
	return Examined("schedulers exist", "submit them anew with the right spark.kubernetes.scheduler.name: a pod's scheduler cannot be changed", findings)
}

// distance is how many letters have to be changed, added or left out to make one word of another.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			before, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, before+cost)
		}
	}
	return row[len(b)]
}

// ExamineSizes finds executors that have the size of a whole node, as it is bought: the system, and the pods of DaemonSets, take some of
// it, so that they fit none.
func (c *Cluster) ExamineSizes() Examination {
	const name = "executors leave room for daemons"
	if c.view == nil || !c.everywhere {
		return Unexamined(name, "you may not read nodes, or the pods of all namespaces")
	}
	var findings []string
	empty := c.view.Empty()
	for _, key := range slices.Sorted(maps.Keys(c.objects.Definitions)) {
		definition := c.objects.Definitions[key]
		for _, role := range definition.Roles {
			eligible := placement.Eligibility(role.Pod)
			fits, whole := false, ""
			for i := range c.view.Len() {
				object := c.view.Object(i)
				if object == nil || !eligible(object) {
					continue
				}
				switch capacity := resource.OfList(object.Status.Capacity); {
				case role.Requests.Fits(*empty.Free(i)):
					fits = true
				case role.Requests.Fits(capacity) && whole == "":
					whole = fmt.Sprintf("%s: each %s asks for %s, and of node %s, which has %s, at most %s is ever free", key, role.Name,
						Amounts(role.Requests.List()), object.Name, Amounts(pick(capacity.List())), Amounts(pick(empty.Free(i).List())))
				}
			}
			if !fits && whole != "" {
				findings = append(findings, whole)
			}
		}
	}
	return Examined(name, "ask for a little less than a node, or for half of one", findings)
}

// pick is cpu and memory of a list.
func pick(list v1.ResourceList) v1.ResourceList {
	return v1.ResourceList{v1.ResourceCPU: list[v1.ResourceCPU], v1.ResourceMemory: list[v1.ResourceMemory]}
}

var outcomeTones = map[Outcome]Tone{Well: Good, Problem: Bad, Unknown: Waits}

// Write writes what came of it.
func (e Examination) Write(out io.Writer, style Style) error {
	lines := [][]string{{fmt.Sprintf("%-7s", e.Outcome), e.Name}}
	tones := [][]Tone{{Plain, Plain}}
	if style.Colour {
		tones[0][0] = outcomeTones[e.Outcome]
	}
	var b strings.Builder
	b.WriteString(aligned(lines, tones))
	for _, finding := range e.Findings {
		b.WriteString("          " + Clean(finding) + "\n")
	}
	if e.Cure != "" {
		b.WriteString("          cure: " + e.Cure + "\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}
