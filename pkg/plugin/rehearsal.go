package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
)

// A rehearsal is placement's slow path, for gangs whose pods are bound to other pods or to volumes: the scheduler's
// snapshot is opened for changes, the leader and then worker after worker is put on a node that all filters of the
// profile accept given those before it, and the snapshot is put back. Nothing of a filter is copied; what is known here
// about filters decides only how soon the search ends.

// layout is where a leader may sit and where its workers then go: a placement.Fit, or what a rehearsal has found.
type layout interface {
	// LeaderFits tells whether the workers have room when the leader sits on the node of this number.
	LeaderFits(node int) bool
	// Score says how good a seat that is, from 0 to placement.MaxScore.
	Score(node int) int
	// Plan chooses the workers' slots for a leader on the node.
	Plan(leader int) ([]placement.Slots, bool)
}

// prefilterRunner is the one part of the framework that a rehearsal needs and fwk.Handle leaves out.
type prefilterRunner interface {
	RunPreFilterPlugins(ctx context.Context, state fwk.CycleState, pod *v1.Pod) (*fwk.PreFilterResult, *fwk.Status, sets.Set[string])
}

// rehearsed is the layout that a rehearsal has found: one seat for the leader.
type rehearsed struct {
	leader int // placement.NoNode for a gang without leader
	slots  []placement.Slots
}

// LeaderFits is true of one node.
func (r *rehearsed) LeaderFits(node int) bool { return node == r.leader && node != placement.NoNode }

// Score knows no better seat.
func (r *rehearsed) Score(int) int { return placement.MaxScore }

// Plan is what was rehearsed.
func (r *rehearsed) Plan(leader int) ([]placement.Slots, bool) { return r.slots, leader == r.leader }

// rehearsalKey marks the cycle of a pod that is rehearsed: this plugin stays out of it, as the rehearsal counts room
// itself.
const rehearsalKey fwk.StateKey = Name + "/rehearsal"

type marker struct{}

// Clone is the marker.
func (m marker) Clone() fwk.StateData { return m }

func rehearsing(state fwk.CycleState) bool {
	_, err := state.Read(rehearsalKey)
	return err == nil
}

// errSnapshot means that the scheduler's snapshot cannot be opened for a rehearsal.
var errSnapshot = errors.New("the scheduler's snapshot cannot be changed for a rehearsal")

// rehearsal is one attempt to place a gang in the opened snapshot. Nodes are numbered as in the View.
type rehearsal struct {
	*Plugin
	ctx     context.Context
	cluster fwk.MutableSnapshotSharedLister
	blank   fwk.CycleState // where the cycle of each rehearsed pod starts
	view    *ledger.View
	asked   placement.Gang
	fit     layout // of the fast path: a leader's seat that does not pass it is none

	nodes   int               // number of nodes in the snapshot
	pods    int               // number of pods in it
	infos   []fwk.NodeInfo    // node -> as in the opened snapshot; nil when it is not there
	free    []resource.Vector // node -> what the View and the pods rehearsed leave
	seated  []int             // node -> pods of the gang
	leader  *member           // nil for a gang without one
	workers []*member         // the roles with workers, in the gang's order
	order   []int             // nodes in the order in which they are tried for workers
	trail   []seat            // who sits where, in order
	marks   []mark            // what standing up has to take out of members' refused
	reasons []refusal         // what members' refused refer to
	stuck   map[string]bool   // arrangements from which there is no way on
	alike   bool              // all workers are, so of nodes of one domain the first that takes one is as good as any
	serial  int               // of the last pod made
	scratch fwk.NodeInfo      // makes fwk.PodInfos
	best    *shortfall        // the furthest that was reached; nil until somebody found no node
	steps   int               // what the search may still cost
	err     error             // of a filter or of the snapshot
}

// member is the leader or a role.
type member struct {
	placement.Member
	role    int // index into the gang's roles; of the leader, noRole
	pod     *v1.Pod
	count   int
	left    int // of count, without a node
	bonds   bonds
	usable  []bool // node -> may be used, room and bonds aside
	refused []int  // node -> 1 + index of the reason why it refuses for good, 0 for none; only if settled
	// domain is shared by nodes between which the member's rules about other nodes make no difference: node -> number;
	// nil when some rule tells every node from every other.
	domain   []int
	domains  int
	inDomain []int // domain -> pods of the member
	// state is the cycle after PreFilter; nil when it does not know everybody who sits.
	state    fwk.CycleState
	allowed  sets.Set[string] // names of nodes that PreFilter leaves; nil means all
	rejected *refusal         // what PreFilter said to every node; nil when it let the pod pass
	spare    []fwk.PodInfo    // pods made and not seated
}

const noRole = -1

// seat is where one rehearsed pod sits.
type seat struct {
	member *member
	node   int
	info   fwk.PodInfo
	marks  int // length of rehearsal.marks before it sat down
}

// mark is one entry of a member's refused.
type mark struct {
	member *member
	node   int
}

// refusal is what a plugin says to a pod on a node.
type refusal struct{ plugin, message string }

// shortfall is where a rehearsal got no further.
type shortfall struct {
	placed  int // pods of the gang that had nodes
	member  *member
	beside  int   // of the member's pods that had nodes
	refused []int // index into rehearsal.reasons -> nodes with room that refuse for it
	full    int   // nodes without room for another
	barred  int   // nodes that the member may not use
	last    int   // the last node asked, if a filter refused it; else placement.NoNode
}

// rehearse looks for a layout of a gang that passed the fast path. Exactly one of layout, verdict and error is set.
// leader is nil for a gang without one; roles are those that asked was made of. It has to be called from a
// scheduling cycle, as nobody else may look at the snapshot meanwhile.
func (p *Plugin) rehearse(ctx context.Context, state fwk.CycleState, view *ledger.View, fit layout, asked placement.Gang, leader *v1.Pod, roles []gang.Role) (found *rehearsed, verdict gang.Verdict, err error) {
	cluster := p.handle.MutableSnapshotSharedLister()
	if cluster == nil {
		return nil, gang.Verdict{}, errSnapshot
	}
	if err := cluster.StartMutations(); err != nil {
		return nil, gang.Verdict{}, fmt.Errorf("%w: %w", errSnapshot, err)
	}
	defer func() {
		if closing := cluster.EndMutations(); closing != nil {
			found, verdict, err = nil, gang.Verdict{}, fmt.Errorf("%w: %w", errSnapshot, closing)
		}
	}()
	r := &rehearsal{Plugin: p, ctx: ctx, cluster: cluster, blank: state.Clone(), view: view, asked: asked, fit: fit, stuck: map[string]bool{}}
	r.blank.Delete(cycleKey)
	r.blank.Write(rehearsalKey, marker{})
	if err := r.open(); err != nil {
		return nil, gang.Verdict{}, err
	}
	r.cast(leader, roles)
	plan, cost, ended := r.run()
	p.logger.V(4).Info("Gang rehearsed", "placed", plan != nil, "cost", cost, "bounded", ended)
	switch {
	case r.err != nil:
		return nil, gang.Verdict{}, r.err
	case plan != nil:
		return plan, gang.Verdict{}, nil
	case ended:
		return nil, r.verdict(fmt.Sprintf("; the search ended at its bound after %d filtered nodes, so there may be a way", cost)), nil
	default:
		return nil, r.verdict(""), nil
	}
}

// open learns the nodes, and lets the workers that slots wait for sit down: they are as good as there.
func (r *rehearsal) open() error {
	infos, err := r.cluster.NodeInfos().List()
	if err != nil {
		return fmt.Errorf("%w: %w", errSnapshot, err)
	}
	size := r.view.Len()
	r.infos, r.free, r.seated = make([]fwk.NodeInfo, size), make([]resource.Vector, size), make([]int, size)
	for i := range r.free {
		r.free[i] = *r.view.Free(i)
	}
	for _, info := range infos {
		if i, known := r.view.Index(info.Node().Name); known && r.view.Object(i) != nil {
			r.infos[i] = info
			r.nodes++
			r.pods += len(info.GetPods())
			r.scratch = cmp.Or(r.scratch, info)
		}
	}
	if r.scratch == nil {
		return nil
	}
	r.scratch = r.scratch.Snapshot()
	for _, awaited := range r.ledger.Awaited() {
		i, known := r.view.Index(awaited.Node)
		if !known || r.infos[i] == nil {
			continue
		}
		info, err := r.podInfo(asCreated(awaited.Worker))
		if err != nil {
			return err
		}
		info.GetPod().Spec.NodeName = awaited.Node
		if err := r.cluster.AddPod(info, awaited.Node); err != nil {
			return fmt.Errorf("%w: %w", errSnapshot, err)
		}
	}
	return nil
}

// podInfo is a copy of a pod as the framework keeps it, which only a NodeInfo makes.
func (r *rehearsal) podInfo(pod *v1.Pod) (fwk.PodInfo, error) {
	adder, able := r.scratch.(interface{ AddPod(*v1.Pod) })
	if !able {
		return nil, fmt.Errorf("%w: its nodes are %T", errSnapshot, r.scratch)
	}
	r.serial++
	copied := *pod
	copied.UID = types.UID(fmt.Sprintf("rehearsed-%d", r.serial))
	copied.Name = string(copied.UID)
	adder.AddPod(&copied)
	pods := r.scratch.GetPods()
	return pods[len(pods)-1], nil
}

// cast makes the members.
func (r *rehearsal) cast(leader *v1.Pod, roles []gang.Role) {
	if leader != nil {
		r.leader = r.member(*r.asked.Leader, noRole, leader, 1)
	}
	for i, role := range r.asked.Roles {
		if role.Count > 0 {
			r.workers = append(r.workers, r.member(role.Member, i, asCreated(roles[i].Pod), role.Count))
		}
	}
	r.alike = len(r.workers) == 1
}

func (r *rehearsal) member(asked placement.Member, role int, pod *v1.Pod, count int) *member {
	m := &member{Member: asked, role: role, pod: pod, count: count, left: count, bonds: bondsOf(pod)}
	m.usable, m.refused = make([]bool, len(r.infos)), make([]int, len(r.infos))
	for i, info := range r.infos {
		m.usable[i] = info != nil && (m.Eligible == nil || m.Eligible(i))
	}
	m.domain, m.domains = r.domains(m.bonds)
	m.inDomain = make([]int, m.domains)
	return m
}

// domains numbers nodes by the values of the labels that rules about more than one node go by.
func (r *rehearsal) domains(b bonds) (domain []int, count int) {
	keys := slices.Concat(b.together, b.spread)
	if slices.Contains(keys, v1.LabelHostname) {
		return nil, len(r.infos)
	}
	for _, key := range b.apart {
		if key != v1.LabelHostname {
			keys = append(keys, key)
		}
	}
	numbers := map[string]int{}
	domain = make([]int, len(r.infos))
	var values strings.Builder
	for i, info := range r.infos {
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

// verdict says how far the gang got, and what was in the way. Waiting may help whatever that was: pods come and go.
func (r *rehearsal) verdict(bounded string) gang.Verdict {
	if r.best == nil {
		return gang.Verdict{Reason: gang.Constraints, Message: fmt.Sprintf("no seat for the gang on %d nodes", r.nodes) + bounded}
	}
	reason, parts := gang.Fragmented, []string{}
	var whys []int // index into reasons
	for why, nodes := range r.best.refused {
		if nodes > 0 {
			whys = append(whys, why)
		}
	}
	slices.SortStableFunc(whys, func(a, b int) int { return cmp.Compare(r.best.refused[b], r.best.refused[a]) })
	for _, why := range whys {
		if r.reasons[why].plugin != resourcesPlugin {
			reason = gang.Constraints
		}
		parts = append(parts, fmt.Sprintf("%d refuse it by %s (%s)", r.best.refused[why], r.reasons[why].plugin, r.reasons[why].message))
	}
	if r.best.full > 0 {
		parts = append(parts, fmt.Sprintf("%d have no room for it", r.best.full))
	}
	if r.best.barred > 0 {
		parts = append(parts, fmt.Sprintf("%d it may not use", r.best.barred))
	}
	m := r.best.member
	who := m.Name + " finds no node"
	if m != r.leader {
		who = fmt.Sprintf("%d of %d pods of role %s find nodes and the next does not", r.best.beside, m.count, m.Name)
	}
	return gang.Verdict{Reason: reason, Message: fmt.Sprintf("%s: of %d nodes %s%s", who, r.nodes, strings.Join(parts, ", "), bounded)}
}
