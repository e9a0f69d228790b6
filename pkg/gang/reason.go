package gang

import (
	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/quota"
)

// Reason is a stable CamelCase code for why a pod waits or what became of its gang. The set is closed, and Reasons is the one table of
// it; users search for these words.
type Reason string

const (
	InvalidGang         Reason = "InvalidGang"
	NeverFitsNode       Reason = "NeverFitsNode"
	NeverFitsCluster    Reason = "NeverFitsCluster"
	ClusterFull         Reason = "ClusterFull"
	Fragmented          Reason = "Fragmented"
	Constraints         Reason = "Constraints"
	BehindOthers        Reason = "BehindOthers"
	ScaleUpRefused      Reason = "ScaleUpRefused"
	ScaleUpRequested    Reason = "ScaleUpRequested"
	GangIncomplete      Reason = "GangIncomplete"
	GangTimeout         Reason = "GangTimeout"
	Collecting          Reason = "Collecting"
	HeldByUser          Reason = "HeldByUser"
	GangGuessed         Reason = "GangGuessed"
	LeaderGone          Reason = "LeaderGone"
	Terminating         Reason = "Terminating"
	NotSynced           Reason = "NotSynced"
	NeverFitsQueue             = Reason(quota.NeverFitsQueue)
	QueueClosed                = Reason(quota.QueueClosed)
	QueueMaxGangs              = Reason(quota.QueueMaxGangs)
	LeaderShare                = Reason(quota.LeaderShare)
	QueueLimit                 = Reason(quota.QueueLimit)
	UserLimit                  = Reason(quota.UserLimit)
	QuotaUsedUp         Reason = "QuotaUsedUp"
	Reclaiming          Reason = "Reclaiming"
	WouldReclaim        Reason = "WouldReclaim"
	Reclaimed           Reason = "Reclaimed"
	GangAdmitted        Reason = "GangAdmitted"
	PredictionCorrected Reason = "PredictionCorrected"
	WorkersMissing      Reason = "WorkersMissing"
	SlotsReleased       Reason = "SlotsReleased"
	Degraded            Reason = "Degraded"
)

// Reasons of the condition PodScheduled of a pod that waits. Autoscalers buy nodes for pods whose reason is
// v1.PodReasonUnschedulable, and for no others.
const (
	// WaitingForTurn: nodes would not help. Others have to end, or somebody has to change a queue.
	WaitingForTurn = "WaitingForTurn"
	// OfItself as Trait.Condition means the Reason itself: nodes would not help, and nobody's end either.
	OfItself = ""
)

// Trait is what is true of a Reason, whatever the numbers.
type Trait struct {
	Reason Reason
	// Waits means that it says why a pod has no node; other reasons say what has become of a gang.
	Waits bool
	// Permanent means that waiting alone cannot help: somebody has to change the gang or the nodes.
	Permanent bool
	// OfSize means that no node, or not all of them together, could hold it were they empty.
	OfSize bool
	// OfQueue means that it is the queue that stands in the way, whatever room there is.
	OfQueue bool
	// OfRoom means that nothing but room is missing, which may come back.
	OfRoom bool
	// Nodes means that more nodes would help.
	Nodes bool
	// Warns means that its event is a warning.
	Warns bool
	// Condition is the reason of the condition PodScheduled of a pod that waits for it.
	Condition string
	// Actor is who has to do something before such a pod can start, and Tier what the reason is about; nothing for a reason that does not
	// say why a pod waits.
	Actor Actor
	Tier  Tier
	// Meaning is for people.
	Meaning string
}

// Reasons is the table of all reasons; docs/reasons.md shows it.
var Reasons = []Trait{
	{Reason: ClusterFull, Waits: true, OfRoom: true, Nodes: true, Condition: v1.PodReasonUnschedulable, Actor: Nobody, Tier: OfNodes, Meaning: "Less is free, in all, than the gang needs."},
	{Reason: Fragmented, Waits: true, OfRoom: true, Nodes: true, Condition: v1.PodReasonUnschedulable, Actor: Nobody, Tier: OfNodes, Meaning: "Enough is free in all, but not in pieces that hold the gang."},
	{Reason: Constraints, Waits: true, Nodes: true, Condition: v1.PodReasonUnschedulable, Actor: User, Tier: OfNodes, Meaning: "Affinity, taints, labels, or rules about other pods, ports and volumes leave no node to the gang, whatever is free."},
	{Reason: NeverFitsNode, Waits: true, Permanent: true, OfSize: true, Nodes: true, Warns: true, Condition: v1.PodReasonUnschedulable, Actor: User, Tier: OfGang, Meaning: "One pod of the gang is larger than every node."},
	{Reason: NeverFitsCluster, Waits: true, Permanent: true, OfSize: true, Nodes: true, Warns: true, Condition: v1.PodReasonUnschedulable, Actor: User, Tier: OfGang, Meaning: "The gang does not fit even the empty cluster."},
	{Reason: BehindOthers, Waits: true, Condition: v1.PodReasonUnschedulable, Actor: Nobody, Tier: OfOrder, Meaning: "A gang that asks for the same waits already and goes first, or others are next in their queues."},
	{Reason: Collecting, Waits: true, Condition: v1.PodReasonUnschedulable, Actor: Nobody, Tier: OfNodes, Meaning: "It has waited so long that room is kept for it until all it needs is there."},
	{Reason: ScaleUpRefused, Waits: true, Warns: true, Condition: WaitingForTurn, Actor: ClusterAdmin, Tier: OfNodes, Meaning: "The autoscaler was asked for nodes, and those that came do not hold the gang; it is asked again later."},
	{Reason: Reclaiming, Waits: true, Condition: WaitingForTurn, Actor: Nobody, Tier: OfLimits, Meaning: "Others have to give back what it waits for, and do."},
	{Reason: QueueLimit, Waits: true, OfQueue: true, Condition: WaitingForTurn, Actor: Nobody, Tier: OfLimits, Meaning: "Its queue or one above it would exceed its limit."},
	{Reason: QueueMaxGangs, Waits: true, OfQueue: true, Condition: WaitingForTurn, Actor: Nobody, Tier: OfCounts, Meaning: "Its queue runs as many gangs as it may."},
	{Reason: QueueClosed, Waits: true, OfQueue: true, Condition: WaitingForTurn, Actor: QueueAdmin, Tier: OfState, Meaning: "Its queue or one above it is draining or stopped."},
	{Reason: LeaderShare, Waits: true, OfQueue: true, Condition: WaitingForTurn, Actor: Nobody, Tier: OfCounts, Meaning: "The leaders in its queue hold as much as they may."},
	{Reason: UserLimit, Waits: true, OfQueue: true, Condition: WaitingForTurn, Actor: Nobody, Tier: OfLimits, Meaning: "Its user would exceed the limit of each user in the queue."},
	{Reason: QuotaUsedUp, Waits: true, Condition: WaitingForTurn, Actor: Nobody, Tier: OfLimits, Meaning: "A ResourceQuota of the namespace has too little left for the workers."},
	{Reason: NeverFitsQueue, Waits: true, Permanent: true, OfQueue: true, Warns: true, Condition: OfItself, Actor: User, Tier: OfGang, Meaning: "It asks for more than a limit of its queue allows at all."},
	{Reason: InvalidGang, Waits: true, Permanent: true, Warns: true, Condition: OfItself, Actor: User, Tier: OfGang, Meaning: "What the gang asks for cannot be understood or contradicts itself."},
	{Reason: LeaderGone, Waits: true, Permanent: true, Warns: true, Condition: OfItself, Actor: User, Tier: OfState, Meaning: "The worker's leader has finished or does not exist."},
	{Reason: GangIncomplete, Waits: true, Condition: OfItself, Actor: User, Tier: OfPods, Meaning: "What the leader will ask for is not known yet, or pods that start together are missing."},
	{Reason: HeldByUser, Waits: true, Condition: OfItself, Actor: User, Tier: OfState, Meaning: "Its user has said that it shall not start yet."},
	{Reason: GangTimeout, Waits: true, Condition: OfItself, Actor: Nobody, Tier: OfPods, Meaning: "Pods that start together have waited for one another in vain; they rest before they are tried again."},
	{Reason: NotSynced, Waits: true, Condition: OfItself, Actor: Nobody, Tier: OfPods, Meaning: "The scheduler has just started and does not know the whole cluster yet, or has heard of a pod before it has of what happened to its gang."},
	{Reason: Terminating, Waits: true, Condition: OfItself, Actor: Nobody, Tier: OfState, Meaning: "The pod is being deleted before it has a node."},
	{Reason: WouldReclaim, Meaning: "Others would have to give back what it waits for if its queue did more than say so."},
	{Reason: Reclaimed, Meaning: "The pod was taken back for another gang."},
	{Reason: ScaleUpRequested, Meaning: "The autoscaler is asked for the nodes that the gang lacks."},
	{Reason: GangAdmitted, Meaning: "The leader and all workers of the start have room."},
	{Reason: GangGuessed, Meaning: "Something about the gang could not be taken at its word."},
	{Reason: PredictionCorrected, Meaning: "The first real worker differs from the predicted one."},
	{Reason: WorkersMissing, Warns: true, Meaning: "The leader is ready, and workers for which room is kept have not come for half a minute: the API server may refuse them."},
	{Reason: SlotsReleased, Meaning: "Slots that nobody claimed were given back."},
	{Reason: Degraded, Warns: true, Meaning: "Slots of an admitted gang lost their room, or need more than was predicted, and no other was found."},
}

// traits are the Reasons by their codes.
var traits = func() map[Reason]*Trait {
	traits := make(map[Reason]*Trait, len(Reasons))
	for i := range Reasons {
		traits[Reasons[i].Reason] = &Reasons[i]
	}
	return traits
}()

// Trait is what the table says of a reason; the zero Trait for what is no reason of the table.
func (r Reason) Trait() Trait {
	if trait := traits[r]; trait != nil {
		return *trait
	}
	return Trait{}
}

// Condition is the reason of the condition PodScheduled of a pod that waits for this reason.
func (r Reason) Condition() string {
	if condition := r.Trait().Condition; condition != OfItself {
		return condition
	}
	return string(r)
}
