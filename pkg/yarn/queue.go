package yarn

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
)

// Bounds of a tree.
const (
	maxQueues     = 10_000
	maxQueueDepth = 32
)

// queue of a file, of either scheduler.
type queue struct {
	name     string
	path     string // root.data.etl
	parent   *queue // nil of the root
	children []*queue

	// capacities by label of nodes; "" are the nodes without one.
	capacities map[string]*capacity
	// zeroAllowed: the capacities of its queues may be zero.
	zeroAllowed bool

	// spec is all of the Queue but its amounts, its place, and its namespaces.
	spec  v1alpha1.QueueSpec
	parts map[string]*part // label -> amounts

	access   access
	lifetime lifetime
	// largest container; nil means that any may be.
	largest Resources
	// defaultLabel is where applications run that name no label.
	defaultLabel string
	// template of queues that come by themselves; nil means that none do.
	template *template
}

// part is what a queue has of the nodes of a label.
type part struct {
	guaranteed, limit, userLimit said
}

// said are amounts as they stand in a manifest.
type said map[v1.ResourceName]amountSaid

// amountSaid is an amount, and of which fraction of the nodes it was computed; zero means that it was given as an amount.
type amountSaid struct {
	amount   int64
	fraction float64
	// double tells whether the fraction is in double precision.
	double bool
}

// access is who may do what, of a queue by itself.
type access struct {
	submit, administer acl
}

// lifetime of applications; zero means any.
type lifetime struct {
	maximum, byDefault time.Duration
}

// template of the queues below one that come by themselves.
type template struct {
	spec      v1alpha1.QueueTemplate
	guarantee said
	limit     said
}

// at is the capacity in the nodes of a label, which is made if there is none.
func (q *queue) at(label string) *capacity {
	c := q.capacities[label]
	if c == nil {
		c = &capacity{maximum: 1}
		if q.capacities == nil {
			q.capacities = map[string]*capacity{}
		}
		q.capacities[label] = c
	}
	return c
}

// part of the nodes of a label, which is made if there is none.
func (q *queue) part(label string) *part {
	p := q.parts[label]
	if p == nil {
		p = &part{}
		if q.parts == nil {
			q.parts = map[string]*part{}
		}
		q.parts[label] = p
	}
	return p
}

func (q *queue) leaf() bool { return len(q.children) == 0 }

// each visits the queue and all below it, from the top.
func (q *queue) each(visit func(*queue)) {
	visit(q)
	for _, child := range q.children {
		child.each(visit)
	}
}

// below are all queues below it, from the top.
func (q *queue) below() (all []*queue) {
	q.each(func(other *queue) {
		if other != q {
			all = append(all, other)
		}
	})
	return all
}

// above are the queue and all above it, without the root.
func (q *queue) above() (path []*queue) {
	for ; q != nil && q.parent != nil; q = q.parent {
		path = append(path, q)
	}
	return path
}

// limitedTo lets no amount of a be larger than in the limit, and tells whether one was.
func (a said) limitedTo(limit said) bool {
	reduced := false
	for name, amount := range a {
		if most, limited := limit[name]; limited && amount.amount > most.amount {
			a[name], reduced = most, true
		}
	}
	return reduced
}

var notInNames = regexp.MustCompile(`[^a-z0-9-]+`)

// maxName is how long the name of a Queue and of a namespace may be.
const maxName = 63

// label makes a name of Kubernetes of any text.
func nameOf(text string) string {
	name := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(text), "-"), "-")
	if name == "" {
		name = "queue"
	}
	if strings.HasPrefix(name, "kube-") {
		name = "yarn-" + name
	}
	return short(name, text)
}

// short is a name that is not too long, and still that of one text only.
func short(name, text string) string {
	if len(name) <= maxName {
		return name
	}
	sum := sha256.Sum256([]byte(text))
	return strings.Trim(name[:maxName-9], "-") + "-" + hex.EncodeToString(sum[:4])
}

// names of all queues: the last part of the path where that is one queue's only, else the whole path.
func names(queues []*queue) map[*queue]string {
	count := map[string]int{}
	for _, q := range queues {
		count[nameOf(q.name)]++
	}
	found := map[*queue]string{}
	taken := map[string]bool{}
	for _, q := range queues {
		if name := nameOf(q.name); count[name] == 1 {
			found[q], taken[name] = name, true
		}
	}
	for _, q := range queues {
		if found[q] != "" {
			continue
		}
		path := strings.TrimPrefix(q.path, "root.")
		name := nameOf(path)
		if taken[name] {
			sum := sha256.Sum256([]byte(q.path))
			name = short(name+"-"+hex.EncodeToString(sum[:4]), q.path)
		}
		found[q], taken[name] = name, true
	}
	return found
}

// acl is who may do something: users and groups, everybody, or nobody.
type acl struct {
	everybody     bool
	users, groups []string
}

// parseACL reads "user,user group,group".
func parseACL(text string) acl {
	if strings.TrimSpace(text) == "*" {
		return acl{everybody: true}
	}
	users, groups, _ := strings.Cut(text, " ")
	return acl{users: listOf(users), groups: listOf(groups)}
}

func (a acl) nobody() bool { return !a.everybody && len(a.users) == 0 && len(a.groups) == 0 }

// listOf are the parts between commas, trimmed, without empty ones.
func listOf(text string) (parts []string) {
	for _, part := range strings.Split(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}
