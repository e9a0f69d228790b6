package ledger

import (
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/reclaim"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/scaleup"
)

// Kind is a pod's part in its gang.
type Kind int

const (
	// Lone pods belong to nothing: gangs of one.
	Lone Kind = iota
	// Leader of a gang: the Spark driver.
	Leader
	// Worker of a gang: a Spark executor.
	Worker
)

// Part is what a pod is in its gang.
type Part struct {
	Kind Kind
	// Gang names the gang of a leader or worker; the zero Key for a lone pod.
	Gang gang.Key
	// Leader is the leader a worker names as its owner; empty when it names none.
	Leader types.UID
	// Role of a worker within its gang.
	Role string
	// Upfront says of a worker that its gang has no leader: its pods exist before the first of them starts, and as many
	// as have to start together wait for one another. It means nothing where a leader claims the gang.
	Upfront bool
}

// Precedence is before whom a pod goes.
type Precedence struct {
	Priority int32
	// NeverPreempts pods take no place of lower priorities: their preemptionPolicy is Never.
	NeverPreempts bool
	// Rank is where its user wants a gang among those of its queue and priority; higher goes first.
	Rank    int32
	Created time.Time
	// Held says of a leader that its user does not want it to start yet: it goes before nobody.
	Held bool
}

// Pod is what the ledger needs to know of a pod.
type Pod struct {
	UID       types.UID
	Namespace string
	// Labels of a pod that may belong to a gang; nil for pods of other schedulers.
	Labels map[string]string
	// Part is what the pod itself shows. A Lone pod that a role of a defined gang selects is its Worker all the same.
	Part
	Precedence
	Start
	// Problem is what is wrong with what the pod says of its up-front gang, for its user; empty means nothing. Such a
	// pod waits.
	Problem string
	// User whose the pod is, for queues that tell users apart; empty is a user like any other.
	User string
	// Foreign pods are those of other schedulers: they are charged, and never taken back.
	Foreign bool
	// Nominated is the node that an assumed pod was going to when the API server last heard of it; empty means none.
	Nominated string
	// Node the pod is bound to; empty while it is not.
	Node     string
	Requests resource.Vector
	// Signature is equal for pods that ask for the same of a node, apart from Requests: affinity, tolerations and so on.
	Signature string
	// Reservation is what a bound leader carries from the time when it was admitted; nil means nothing.
	Reservation *Reservation
	// Ready is the pod's condition of that name.
	Ready bool
	// Object is the pod itself, for the Effects; it must not be modified.
	Object *v1.Pod
}

// Start is what a pod of an up-front gang says of the gang's start.
type Start struct {
	// Together is how many pods start together, if the pods say so themselves; zero means that a Group says it.
	Together int
	// Rehearsed means that room is not all that decides where the pod may go.
	Rehearsed bool
	// Joint means that kube-scheduler has the pod in one entity of its queue with the others of its native PodGroup: all of them pass
	// the Gate or none does, and all are tried in one cycle. It says nothing of which gang the pod is of.
	Joint bool
	// Shared is the key that a Joint pod would have as one of an up-front gang, if it is in another gang or leads one; else the zero Key.
	// Then it is not for the ledger alone when those of that key start.
	Shared gang.Key
}

// Reservation is a definition together with the slots it was given. Of one that a leader carries nothing is known but that somebody
// wrote it.
type Reservation struct {
	Definition gang.Definition
	Slots      []Run
}

// Run is equal slots: hundreds of one role on one node take no more memory than one.
type Run struct {
	// Role is an index into the definition's roles.
	Role int
	// Node is empty for slots without a home.
	Node  string
	Count int
}

// Group declares an up-front gang: a PodGroup.
type Group struct {
	Key gang.Key
	// Minimum is how many of its pods start together; at least 1 unless there is a Problem.
	Minimum int
	// Resources have to be free in all before the gang starts. Zero means that what its pods ask for is enough.
	Resources resource.Vector
	// Timeout is how long pods that have a node wait for the others. Zero means one minute.
	Timeout time.Duration
	// Problem says why the declaration cannot be used; empty means that it can.
	Problem string
	// Succeeded is how many of its pods have succeeded. They have done their part: they count toward the Minimum, and need no room.
	Succeeded int
	// Started means that as many as start together have had nodes before.
	Started bool
	// Whole means that its pods are taken back all together or not at all.
	Whole bool
	// Loose means that somebody else decides when its pods start: they are no gang.
	Loose bool
}

// Queues are all queues and what belongs to them.
type Queues struct {
	Specs []quota.Spec
	// Namespaces tells which queue a namespace belongs to: namespace -> name in Specs. One that is not there belongs to
	// quota.Unassigned.
	Namespaces map[string]string
	// Strategies of queues that have one of their own: queue -> strategy.
	Strategies map[string]placement.Strategy
}

// Budget is a PodDisruptionBudget.
type Budget = reclaim.Budget

// Event is something the ledger is told. The set is closed: Apply knows them all.
type Event interface{ ledgerEvent() }

type (
	// NodeSeen: a node appeared or changed. Repeating it changes nothing.
	NodeSeen struct{ Node *v1.Node }
	// NodeGone: a node was deleted.
	NodeGone struct{ Name string }
	// Uncounted: these extended resources are counted by others on the nodes that list none of them, and no others are.
	Uncounted struct{ Resources []v1.ResourceName }
	// PodSeen: a pod that has not ended appeared or changed. Repeating it changes nothing.
	PodSeen struct{ Pod Pod }
	// PodGone: a pod finished, failed or was deleted.
	PodGone struct{ UID types.UID }
	// QueuesSeen: a queue, or what belongs to it, appeared, changed or has gone. Everything is charged anew.
	QueuesSeen struct{ Queues Queues }
	// BudgetSeen: a PodDisruptionBudget appeared or changed.
	BudgetSeen struct{ Budget Budget }
	// BudgetGone: it was deleted.
	BudgetGone struct{ Namespace, Name string }
	// Defined: the definition of a leader's gang is known.
	Defined struct {
		Leader     types.UID
		Definition gang.Definition
	}
	// Refuted: a leader's gang cannot be defined, for a reason its user can read.
	Refuted struct {
		Leader  types.UID
		Problem string
	}
	// GroupSeen: the declaration of an up-front gang appeared or changed. It means nothing to a gang that is admitted.
	GroupSeen struct{ Group Group }
	// GroupGone: the declaration was deleted.
	GroupGone struct{ Key gang.Key }
	// Admitted: a leader was assumed on a node and its workers have these slots, as Demand asked for. Apply answers
	// with an error when the room is gone; then nothing has changed.
	Admitted struct {
		Leader types.UID
		// Node of the leader; empty for an up-front gang.
		Node  string
		Slots []gang.Slot
		// Edition is the Attempt's by which they were chosen.
		Edition uint64
		// Took is how long the rehearsal, or the answer that the gang fits, has kept others waiting.
		Took time.Duration
	}
	// Placed: a pod other than the leader of a waiting gang was assumed on a node.
	Placed struct {
		UID  types.UID
		Node string
	}
	// Unplaced: an attempt has ended in an error, and if it had a node for the pod, the pod did not keep it, whatever it is in its
	// gang.
	Unplaced struct{ UID types.UID }
	// Refused: an attempt to place a pod failed, judged by the View of this Epoch.
	Refused struct {
		UID     types.UID
		Epoch   uint64
		Verdict gang.Verdict
		// Edition is the Attempt's: a Verdict on what the gang does not ask for any more says nothing.
		Edition uint64
		// Alone means that something has refused the pod of which its Signature says nothing, such as a rule of another pod about
		// its labels: the failure speaks for nobody else of its Signature.
		Alone bool
		// Only are the nodes on which a pod lacks nothing but room, if its Signature does not say which: others have refused it for
		// something else, or may. nil means that its Signature does.
		Only map[string]bool
		// Rehearsed means that the framework's filters were asked about the whole gang: another answer may come of things
		// that the ledger does not hear of. Cut means that they were not asked everything: they are at the next attempt, and
		// nothing else is done about the gang before.
		Rehearsed, Cut bool
		// Took is how long that, or an answer before the attempt, has kept others waiting; zero means next to nothing.
		Took time.Duration
		// Behind means that nodes refused the pod that would take it by that View: the scheduler's snapshot and the ledger have
		// not heard of the same events yet. kube-scheduler tries the pod again when its cache has.
		Behind bool
	}
	// EvictionFailed: what Ledger.Evicting was told of has come to nothing.
	EvictionFailed struct{ UID types.UID }
	// Tick: time has passed.
	Tick struct {
		// Unclaimed is how long slots wait for their workers before they are released. Zero means that they are not
		// looked at this time.
		Unclaimed time.Duration
		// Unready is how long they wait for a leader that is bound and not ready, whose image does not exist, say. Zero means the
		// same.
		Unready time.Duration
		// Collect is how long a pod or gang waits before room is collected for it. Zero means that no collection
		// begins this time.
		Collect time.Duration
	}
	// Elastic: there is an autoscaler, and how much it is asked for. nil Limits mean that there is none.
	Elastic struct{ Limits *scaleup.Limits }
	// ScaleUpAnswered: the autoscaler says something of what it was asked for a leader's gang.
	ScaleUpAnswered struct {
		Leader types.UID
		Answer scaleup.Answer
	}
	// Synced: everything that existed at the start has been told; from now on gangs may be admitted.
	Synced struct{}
)

func (NodeSeen) ledgerEvent()       {}
func (NodeGone) ledgerEvent()       {}
func (Uncounted) ledgerEvent()      {}
func (PodSeen) ledgerEvent()        {}
func (PodGone) ledgerEvent()        {}
func (GroupSeen) ledgerEvent()      {}
func (GroupGone) ledgerEvent()      {}
func (QueuesSeen) ledgerEvent()     {}
func (BudgetSeen) ledgerEvent()     {}
func (BudgetGone) ledgerEvent()     {}
func (Defined) ledgerEvent()        {}
func (Refuted) ledgerEvent()        {}
func (Admitted) ledgerEvent()       {}
func (Placed) ledgerEvent()         {}
func (Unplaced) ledgerEvent()       {}
func (Refused) ledgerEvent()        {}
func (EvictionFailed) ledgerEvent() {}
func (Tick) ledgerEvent()           {}
func (Synced) ledgerEvent()         {}

func (Elastic) ledgerEvent()         {}
func (ScaleUpAnswered) ledgerEvent() {}

// Effect is something the caller of Apply has to do, in order, after Apply has returned.
type Effect interface{ ledgerEffect() }

type (
	// Activate moves a pod out of its wait into the Gate again.
	Activate struct{ Pod *v1.Pod }
	// Define asks for the definition of a leader's gang; answered by Defined or Refuted.
	Define struct{ Leader *v1.Pod }
	// Save writes the reservation of a leader's gang down again: slots have moved.
	Save struct{ Leader *v1.Pod }
	// Allow lets pods that wait for the rest of their gang go on to be bound.
	Allow struct{ Pods []types.UID }
	// Reject sends pods that wait for the rest of their gang back: it will not come.
	Reject struct {
		Pods    []types.UID
		Verdict gang.Verdict
	}
	// Evict takes a pod back for somebody else, unless Ledger.Evicting says meanwhile that it need not go. Those of one gang come
	// in the order in which they have to go: workers before their leader.
	Evict struct {
		Pod *v1.Pod
		// Grace is how long it may take to end; nil means what the pod itself says.
		Grace *time.Duration
		// Forced means that no PodDisruptionBudget is asked: nothing else would do.
		Forced bool
		// Verdict says for whom, why and how much.
		Verdict gang.Verdict
	}
	// Unnominate takes back what was nominated for a pod while others were to leave for it: they do not any more.
	Unnominate struct{ Pod *v1.Pod }
	// ScaleUp asks the autoscaler for nodes on which these pods have room besides the leader, a pending pod that it counts by itself, and
	// besides what nodes hold already. It holds until ScaleUpEnded.
	ScaleUp struct {
		Leader *v1.Pod
		Pods   []inventory.Pods
		// Strategy is how they are to be laid out.
		Strategy placement.Strategy
	}
	// ScaleUpEnded takes back what was asked for a leader's gang; where nothing was it means nothing.
	ScaleUpEnded struct{ Leader types.UID }
	// Look asks for Ledger.Look: it takes too long for whoever has caused it.
	Look struct{}
	// Missing: workers of a gang have not come although its leader is ready. Why, only the API server knows.
	Missing struct {
		Leader *v1.Pod
		// Roles of the missing workers, with how many are missing as their Count.
		Roles []gang.Role
		// Open of All slots wait for their workers, Since is for how long at least.
		Open, All int
		Since     time.Duration
	}
	// Tell lets the user of a pod know what became of it.
	Tell struct {
		Pod     *v1.Pod
		Verdict gang.Verdict
	}
)

func (Activate) ledgerEffect()   {}
func (Define) ledgerEffect()     {}
func (Save) ledgerEffect()       {}
func (Allow) ledgerEffect()      {}
func (Reject) ledgerEffect()     {}
func (Evict) ledgerEffect()      {}
func (Unnominate) ledgerEffect() {}
func (Look) ledgerEffect()       {}
func (Missing) ledgerEffect()    {}
func (Tell) ledgerEffect()       {}

func (ScaleUp) ledgerEffect()      {}
func (ScaleUpEnded) ledgerEffect() {}
