package ledger

import (
	"cmp"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
)

// pod is a Pod and where the ledger counts it.
type pod struct {
	Pod
	placed string // node it is counted on; empty means none
	bound  bool   // placed by the API server's word, not only assumed
	// started is when it was bound, by the API server's word if that is there, else when it was first seen with its node.
	started time.Time
	shown   Part // what the pod itself shows to be; Pod may differ if a role selects it
	// picky means that its Signature does not say where it may go, and only are the nodes on which it lacked nothing but room in its last
	// attempt: others leave nowhere else for it. nil means that somebody has looked since.
	picky bool
	only  map[string]bool
	// lag is that of the scheduler's snapshot, as far as its own attempts have met it.
	lag lag
	// number is its place among all that have passed the Gate, where there are queues.
	number uint64
	// roams means that its slots' nodes refused the worker: it may go wherever it fits.
	roams bool
	// atGate is what the Gate knows of it.
	atGate atGate
	// heard is what it was told last as a pod of an up-front gang: the reason with that of the condition, or where numbers matter those;
	// empty when nothing, or by kube-scheduler.
	heard string
	// charged is what its queue was charged for it.
	charged charge
	// preemptor is the waiter for which it has to go; empty means that it may stay.
	preemptor types.UID
	// called means that its eviction is on its way to the API server, which nobody can call back, or has been carried out.
	called bool
	// tallied is the priority as which it counts among those of what may be taken back; nil means that it does not.
	tallied *int32
}

// atGate is what the Gate knows of a pod.
type atGate struct {
	// ahead means that it was the first to see the pod and the informer has not told of it yet; waits, that the pod is kept until then.
	ahead, waits bool
	// refused is why the pod was last refused, where nobody but the Gate tells of it, and told what has been told of that; zero means
	// nothing.
	refused, told gang.Verdict
	// silent means that it is one of gate.silent.
	silent bool
}

// entry is a gang with its leader.
type entry struct {
	*gang.Gang
	// leader of an up-front gang is no pod of its own: it stands in for the first of them.
	leader *pod
	// upfront is nil for a gang with a leader.
	upfront *upfront
	// edition tells what the gang asks for, and that it asks, from what it has asked for before, and from what any other does; zero while
	// it is not known.
	edition uint64
	// progress is when the leader was bound or last became ready or unready, or a worker last came or went.
	progress time.Time
	// missed is the progress since which its user has been told that workers are missing.
	missed time.Time
	// released means that slots were released because the leader was not ready: it has them back when it is.
	released bool
	// handles are the labels under which its roles are found in Ledger.selectors.
	handles []label
	// charged is what its queue was charged for it besides its pods; open is what of that its open slots are.
	charged charge
	open    resource.Vector
	// preemptor is the waiter for which the whole gang has to go; empty means that it may stay.
	preemptor types.UID
	// hopeful means that some node could hold one of the slots that have no home if its pods ended, and hopefulSince is since when; they
	// say nothing while the gang is not degraded.
	hopefulSince time.Time
	hopeful      bool
	// eligibility is which nodes a worker may use, resources aside; index as in the definition's roles, nil until asked for.
	eligibility []func(*v1.Node) bool
	// unconfirmed is what its leader carried of it that nobody has confirmed yet; nil means that it is believed.
	unconfirmed *unconfirmed
	// inVain is what others have left for it in vain.
	inVain inVain
}

// inVain is how often others have left for a gang that the framework's filters have refused all the same, and until when nobody else has to:
// whoever goes is not asked whether the gang's rules about other pods are met then.
type inVain struct {
	times int
	until time.Time
}

const (
	// firstVainPause is how long nobody leaves for a gang that has not started with what others have left; it doubles every time, up to
	// longestVainPause.
	firstVainPause   = 10 * time.Minute
	longestVainPause = 24 * time.Hour
)

func (v *inVain) again(now time.Time) {
	pause := longestVainPause
	if v.times < 8 {
		pause = min(firstVainPause<<v.times, longestVainPause)
	}
	*v = inVain{v.times + 1, now.Add(pause)}
}

// takenBack tells whether others leave with all that the gang holds, so that nobody joins it any more.
func (e *entry) takenBack() bool { return e.preemptor != "" || e.leader.called }

// app is everything that carries one gang key.
type app struct {
	// leaders claim the key in the order of their right to it: the first owns it, others are refused.
	leaders []*entry
	workers map[types.UID]*pod
	// upfront is how many of the workers say that they have no leader, and together the largest number of them that any
	// has said to start together.
	upfront, together int
	// bound is how many of those are bound.
	bound int
}

// doomed tells whether a pod is being deleted and has no node.
func (p *Pod) doomed() bool { return p.Object.DeletionTimestamp != nil && p.Node == "" }

// compare orders leaders of one key by their right to it.
func (p *pod) compare(other *pod) int {
	switch {
	case p.Node != "" && other.Node == "":
		return -1
	case p.Node == "" && other.Node != "":
		return 1
	default:
		return cmp.Or(p.Created.Compare(other.Created), cmp.Compare(p.UID, other.UID))
	}
}

// boundAt is when the API server bound a pod; zero if it does not say so.
func boundAt(object *v1.Pod) time.Time {
	for _, condition := range object.Status.Conditions {
		if condition.Type == v1.PodScheduled && condition.Status == v1.ConditionTrue {
			return condition.LastTransitionTime.Time
		}
	}
	return time.Time{}
}

// use counts a pod on its node, or takes it off if sign is −1.
func (p *pod) use(nodes *inventory.Nodes, sign int) {
	nodes.Use(p.placed, p.Requests.Scale(sign))
	if stays := permanent(&p.Pod); !stays.IsZero() {
		nodes.Stay(p.placed, stays.Scale(sign))
	}
}

// permanent is what of a pod's requests never leaves its node: all or nothing.
func permanent(p *Pod) resource.Vector {
	if inventory.Permanent(p.Object) {
		return p.Requests
	}
	return resource.Vector{}
}

// runs tells whether a gang counts as one of those that run. A leader that has a node does so whatever is known of its gang:
// it may not be defined yet, or never be, or another leader may have its key.
func (e *entry) runs() bool {
	return e.Phase.Admitted() || e.Phase != gang.Done && e.leader.placed != ""
}

// leaderPart is what the leader holds while its workers come; nothing in an up-front gang.
func (e *entry) leaderPart() resource.Vector {
	if e.upfront != nil {
		return resource.Vector{}
	}
	return e.leader.Requests
}

// homeless tells whether an open slot of the gang has no node.
func (e *entry) homeless() bool {
	for s := range e.Slots {
		if e.Slots[s].Node == "" && e.Slots[s].Worker == "" {
			return true
		}
	}
	return false
}

// eligible tells whether a worker of the role may use the node, resources aside; nil is a node that is not there.
func (e *entry) eligible(role int, node *v1.Node) bool {
	if e.eligibility == nil {
		for _, role := range e.Gang.Definition.Roles {
			e.eligibility = append(e.eligibility, placement.Eligibility(role.Pod))
		}
	}
	return e.eligibility[role](node)
}
