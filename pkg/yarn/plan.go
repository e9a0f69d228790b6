package yarn

import (
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
)

// Options of a conversion.
type Options struct {
	// Cluster is what all nodes without a label have, for percentages and weights; nil means that it is not known.
	Cluster Resources
	// Labels is what the nodes of each label have. The capacities of one that is not listed are lost.
	Labels map[string]Resources
	// LabelKey is the key of the label that nodes have here: KEY=LABEL.
	LabelKey string
	// Site is yarn-site.xml, which says whether and how queues take back what is theirs; nil means that it is not known.
	Site []byte
}

// Queue of a Plan.
type Queue struct {
	// Path in YARN.
	Path string
	// Label of the nodes that it has a part of; empty means those without one.
	Label string
	Name  string
	Spec  v1alpha1.QueueSpec
	// Comments stand beside amounts: guaranteed.cpu -> comment.
	Comments map[string]string
}

// Plan is what a file becomes.
type Plan struct {
	Queues []Queue
	// Objects around the Queues: namespaces, access, and policies, in the order in which they are applied.
	Objects []any
	Report  Report
}

// errNoCluster is why a percentage says nothing.
var errNoCluster = errors.New("the size of the cluster is not known: give it, as in --cluster-resources cpu=100,memory=400Gi")

// Convert reads a file of either scheduler. Its errors name element and value.
func Convert(text []byte, options Options) (*Plan, error) {
	root, err := parse(text)
	if err != nil {
		return nil, err
	}
	reading := reading{options: options}
	if options.Site != nil {
		site, err := parse(options.Site)
		if err == nil {
			reading.site, err = properties(site)
		}
		if err != nil {
			return nil, fmt.Errorf("yarn-site.xml: %w", err)
		}
	}
	switch root.name {
	case "configuration":
		err = reading.capacityScheduler(root)
	case "allocations":
		err = reading.fairScheduler(root)
	default:
		err = fmt.Errorf("line %d: <%s>: want <configuration> of a capacity-scheduler.xml or <allocations> of a fair-scheduler.xml", root.line, root.name)
	}
	if err != nil {
		return nil, err
	}
	return reading.plan(), nil
}

// reading of a file.
type reading struct {
	options Options
	site    *settings // of yarn-site.xml; nil means that it is not known
	file    *settings
	root    *queue
	names   map[*queue]string
	// labels that are pools, in order.
	labels []string
	// mappings of users and groups to queues, in order.
	mappings []mapping
	// forced: a mapping counts whatever queue an application names.
	forced bool
	// unknown is said of settings that nobody has read.
	unknown string
}

// plan puts together what has been read.
func (r *reading) plan() *Plan {
	p := &Plan{}
	for _, label := range append([]string{""}, r.labels...) {
		for _, q := range r.root.below() {
			if label == "" || q.parts[label] != nil {
				p.Queues = append(p.Queues, r.queue(q, label))
			}
		}
	}
	p.Objects = around{r}.objects()
	p.Report = r.file.report(r.unknown)
	if r.site != nil {
		site := r.site.report("not about queues")
		p.Report.Lines = append(p.Report.Lines, site.Lines...)
		p.Report.Notes = append(p.Report.Notes, site.Notes...)
	}
	return p
}

// named is the name of a queue in the nodes of a label.
func (r *reading) named(q *queue, label string) string {
	if label == "" {
		return r.names[q]
	}
	return short(r.names[q]+"-"+nameOf(label), q.path+" "+label)
}

// queue is the object of a queue in the nodes of a label.
func (r *reading) queue(q *queue, label string) Queue {
	spec := *q.spec.DeepCopy()
	result := Queue{Path: q.path, Label: label, Name: r.named(q, label), Comments: map[string]string{}}
	if q.parent.parent != nil {
		spec.Parent = r.named(q.parent, label)
	} else if label != "" {
		spec.NodeSelector = selectorOf(r.options.LabelKey, label)
	}
	if q.leaf() {
		spec.Namespaces = []string{r.named(q, label)}
	}
	if q.template != nil {
		spec.PerNamespace = q.template.spec.DeepCopy()
		spec.Namespaces = nil
		spec.NamespaceSelector = selectorOf(namespaceLabel, result.Name)
	}
	if !q.leaf() && q.exempt() {
		// It would count below as well, and a queue there may say otherwise.
		if spec.Reclaim.Exempt = false; !spec.Reclaim.Enabled {
			spec.Reclaim = nil
		}
	}
	p := q.parts[label]
	if p == nil {
		p = &part{}
	}
	write := func(path string, from said) v1alpha1.Amounts {
		if len(from) == 0 {
			return nil
		}
		list := v1alpha1.Amounts{}
		for name, amount := range from {
			list[name] = quantity(name, amount.amount)
			if amount.fraction != 0 {
				result.Comments[path+"."+string(name)] = comment(amount.fraction, amount.double, label)
			}
		}
		return list
	}
	spec.Guaranteed = write("guaranteed", p.guaranteed)
	spec.Limit = write("limit", p.limit)
	if list := write("users.limit", p.userLimit); list != nil {
		if spec.Users == nil {
			spec.Users = &v1alpha1.QueueUsers{}
		}
		spec.Users.Limit = list
	}
	if spec.PerNamespace != nil && label == "" {
		spec.PerNamespace.Guaranteed = write("perNamespace.guaranteed", q.template.guarantee)
		spec.PerNamespace.Limit = write("perNamespace.limit", q.template.limit)
	}
	result.Spec = spec
	return result
}

// namespaceLabel is what a namespace says to be one of a queue whose namespaces come by themselves.
const namespaceLabel = "yarn-queue"

// sayPart are fractions of all nodes as they are written.
func sayPart(nodes Resources, fraction float64, double bool) said {
	if fraction == 0 {
		return nil
	}
	parts := said{}
	for name, amount := range nodes.part(fraction) {
		parts[name] = amountSaid{amount: amount, fraction: fraction, double: double}
	}
	return parts
}

// sayAmounts are amounts as the file gives them, without those that are zero if they would say nothing.
func sayAmounts(given Resources, zeros bool) said {
	amounts := said{}
	for name, amount := range given {
		if amount != 0 || zeros {
			amounts[name] = amountSaid{amount: amount}
		}
	}
	return amounts
}

// weightOf the resources of nodes, for the weight of a queue: its largest part of them in hundredths.
func weightOf(given, nodes Resources) int32 {
	most := int64(0)
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
		if nodes[name] > 0 {
			most = max(most, share(given[name], 100/float64(nodes[name])))
		}
	}
	return int32(min(max(most, 1), maxWeight))
}

// maxWeight of a Queue.
const maxWeight = 1_000_000
