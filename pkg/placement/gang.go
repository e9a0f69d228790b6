package placement

import "retinue.dev/retinue/pkg/resource"

// NoNode stands for "no leader to be placed" where the node of a leader is asked for.
const NoNode = -1

// Nodes is the cluster as placement sees it. Nodes are numbered from 0 to Len()-1. It must not change while a Fit made
// from it is in use.
type Nodes interface {
	Len() int
	// Free is what is neither used by pods nor kept as slots; it may be negative. The Vector is only read. A number
	// whose node is gone is a zero Vector: it takes no pod, since every pod asks for a place in the pod limit.
	Free(node int) *resource.Vector
	// Domain is the topology domain that SingleZone and PreferSingleZone keep a gang in; "" means that the node is in
	// none. The other strategies do not ask.
	Domain(node int) string
}

// Strategy is how a gang is laid out on nodes.
type Strategy string

const (
	// Pack uses the fewest nodes, and of equally many the tightest. It is the strategy when none is given.
	Pack Strategy = "Pack"
	// Spread puts as equal numbers of the gang's pods on nodes as possible, on those with the most room first.
	Spread Strategy = "Spread"
	// SingleZone keeps the gang, leader included, in one domain, packed.
	SingleZone Strategy = "SingleZone"
	// PreferSingleZone is SingleZone where a domain has the room, and Pack over all nodes where none has.
	PreferSingleZone Strategy = "PreferSingleZone"
)

// inDomains tells whether the strategy looks at topology domains.
func (s Strategy) inDomains() bool { return s == SingleZone || s == PreferSingleZone }

// Member is one pod of a gang.
type Member struct {
	// Name is what people call it, in the singular: "driver", "executor".
	Name string
	// Request is what it takes from a node: resource.OfPod.
	Request resource.Vector
	// Eligible tells whether the node may hold the member at all, resources aside: affinity, taints, cordons. nil means
	// every node may. A role's is asked once for every node with room, and once more for all nodes when a shortage is
	// counted; the leader's also from parallel LeaderFits calls.
	Eligible func(node int) bool
}

// Role is a set of identical workers.
type Role struct {
	Member
	// Count is how many workers need a slot. Zero or less means none.
	Count int
}

// Gang is what has to find room as one.
type Gang struct {
	// Leader is the pod whose node is still to be chosen. nil means none: it sits already, or every pod of the gang
	// has a slot in a role.
	Leader *Member
	// Roles are the workers, in any order. Empty means a leader alone.
	Roles []Role
	// Strategy is how to lay them out; "" means Pack.
	Strategy Strategy
	// Home is the domain in which a part of the gang sits already: SingleZone then takes only nodes of this domain and
	// PreferSingleZone looks there first. "" means that nothing of the gang sits yet.
	Home string
}

// Slots is room for Count workers of one role on one node.
type Slots struct {
	Role  int // index into Gang.Roles
	Node  int
	Count int // at least 1
}
