package rehearsal

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/placement"
)

// member is the leader or a role.
type member struct {
	placement.Member
	role    int // index into the gang's roles; of the leader, noRole
	pod     *v1.Pod
	count   int
	left    int // of count, without a node
	rules   PodRules
	usable  []bool // node -> may be used, room and pod rules aside
	refused []int  // node -> 1 + index of the reason why it refuses for good, 0 for none; only if the rules are settled
	// domain is shared by nodes between which the member's rules about other nodes make no difference: node -> number;
	// nil when some rule tells every node from every other.
	domain   []int
	domains  int
	inDomain []int // domain -> pods of the member
	// state is the cycle after PreFilter; nil when it does not know every pod that has been placed.
	state    fwk.CycleState
	allowed  sets.Set[string] // names of nodes that PreFilter leaves; nil means all
	rejected *refusal         // what PreFilter said to every node; nil when it let the pod pass
	spare    []fwk.PodInfo    // pods made and not placed
}

const noRole = -1

func newMember(infos []fwk.NodeInfo, asked placement.Member, role int, pod *v1.Pod, count int) *member {
	m := &member{Member: asked, role: role, pod: pod, count: count, left: count, rules: RulesOf(pod)}
	m.usable, m.refused = make([]bool, len(infos)), make([]int, len(infos))
	for i, info := range infos {
		m.usable[i] = info != nil && (m.Eligible == nil || m.Eligible(i))
	}
	m.domain, m.domains = domains(infos, m.rules)
	m.inDomain = make([]int, m.domains)
	return m
}

// domains numbers nodes by the values of the topology keys that rules about more than one node go by.
func domains(infos []fwk.NodeInfo, rules PodRules) (domain []int, count int) {
	keys := slices.Concat(rules.affinity, rules.topologySpread)
	if slices.Contains(keys, v1.LabelHostname) {
		return nil, len(infos)
	}
	for _, key := range rules.antiAffinity {
		if key != v1.LabelHostname {
			keys = append(keys, key)
		}
	}
	numbers := map[string]int{}
	domain = make([]int, len(infos))
	var values strings.Builder
	for i, info := range infos {
		if info == nil {
			continue
		}
		values.Reset()
		for _, key := range keys {
			fmt.Fprintf(&values, "%q ", info.Node().Labels[key])
		}
		number, known := numbers[values.String()]
		if !known {
			number = len(numbers)
			numbers[values.String()] = number
		}
		domain[i] = number
	}
	return domain, len(numbers)
}

// reset ends the member's cycle: the next pod begins one that knows everybody.
func (m *member) reset() { m.state, m.rejected = nil, nil }

// moved counts pods of the member that come to a node, or with -1 leave it.
func (m *member) moved(node, pods int) {
	m.left -= pods
	if m.domain != nil {
		m.inDomain[m.domain[node]] += pods
	}
}
