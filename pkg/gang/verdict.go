package gang

import "retinue.dev/retinue/pkg/quota"

// Reason is a stable CamelCase code for why a pod waits or what became of its gang. The set is closed; users search
// for these words.
type Reason string

const (
	// InvalidGang: what the gang asks for cannot be understood or contradicts itself.
	InvalidGang Reason = "InvalidGang"
	// NeverFitsNode: one pod of the gang is larger than every node.
	NeverFitsNode Reason = "NeverFitsNode"
	// NeverFitsCluster: the gang does not fit even the empty cluster.
	NeverFitsCluster Reason = "NeverFitsCluster"
	// ClusterFull: less is free, in all, than the gang needs.
	ClusterFull Reason = "ClusterFull"
	// Fragmented: enough is free in all, but not in pieces that hold the gang.
	Fragmented Reason = "Fragmented"
	// Constraints: affinity, taints, labels, or rules about other pods, ports and volumes leave no node to the gang,
	// whatever is free.
	Constraints Reason = "Constraints"
	// BehindOthers: a gang that asks for the same waits already and goes first.
	BehindOthers Reason = "BehindOthers"
	// GangIncomplete: what the leader will ask for is not known yet.
	GangIncomplete Reason = "GangIncomplete"
	// GangTimeout: pods that start together have waited for one another in vain.
	GangTimeout Reason = "GangTimeout"
	// Collecting: it has waited so long that room is kept for it until all it needs is there.
	Collecting Reason = "Collecting"
	// GangGuessed: something about the gang could not be taken at its word.
	GangGuessed Reason = "GangGuessed"
	// LeaderGone: the worker's leader has finished or does not exist.
	LeaderGone Reason = "LeaderGone"
	// Terminating: the pod is being deleted before it has a node.
	Terminating Reason = "Terminating"
	// NotSynced: the scheduler has just started and does not know the whole cluster yet.
	NotSynced Reason = "NotSynced"
	// NeverFitsQueue: it asks for more than a limit of its queue allows at all.
	NeverFitsQueue = Reason(quota.NeverFitsQueue)
	// QueueClosed: its queue or one above it is draining or stopped.
	QueueClosed = Reason(quota.QueueClosed)
	// QueueMaxGangs: its queue runs as many gangs as it may.
	QueueMaxGangs = Reason(quota.QueueMaxGangs)
	// LeaderShare: the leaders in its queue hold as much as they may.
	LeaderShare = Reason(quota.LeaderShare)
	// QueueLimit: its queue or one above it would exceed its limit.
	QueueLimit = Reason(quota.QueueLimit)
	// UserLimit: its user would exceed the limit of each user in the queue.
	UserLimit = Reason(quota.UserLimit)
	// QuotaUsedUp: a ResourceQuota of the namespace has too little left for the workers.
	QuotaUsedUp Reason = "QuotaUsedUp"
	// Reclaiming: others have to give back what it waits for.
	Reclaiming Reason = "Reclaiming"
	// WouldReclaim: others would have to give back what it waits for if its queue did more than say so.
	WouldReclaim Reason = "WouldReclaim"
	// Reclaimed: the pod was taken back for another gang.
	Reclaimed Reason = "Reclaimed"
	// GangAdmitted: the leader and all workers of the start have room.
	GangAdmitted Reason = "GangAdmitted"
	// PredictionCorrected: the first real worker differs from the predicted one.
	PredictionCorrected Reason = "PredictionCorrected"
	// SlotsReleased: slots that nobody claimed were given back.
	SlotsReleased Reason = "SlotsReleased"
	// Degraded: slots of an admitted gang lost their room and no other was found.
	Degraded Reason = "Degraded"
)

// Verdict is a Reason with its numbers, for a user to read. The zero Verdict means nothing stands in the way.
type Verdict struct {
	Reason  Reason
	Message string
}

// Passes tells whether nothing stands in the way.
func (v Verdict) Passes() bool { return v.Reason == "" }

// Permanent tells whether waiting alone cannot help: somebody has to change the gang or the nodes.
func (v Verdict) Permanent() bool {
	switch v.Reason {
	case InvalidGang, NeverFitsNode, NeverFitsCluster, NeverFitsQueue, LeaderGone:
		return true
	default:
		return false
	}
}

// OfQueue tells whether it is the queue that stands in the way, whatever room there is.
func (v Verdict) OfQueue() bool {
	switch v.Reason {
	case NeverFitsQueue, QueueClosed, QueueMaxGangs, LeaderShare, QueueLimit, UserLimit:
		return true
	default:
		return false
	}
}

// String is the form of messages, the reason first: "Fragmented: 3 of 4 executors fit …".
func (v Verdict) String() string {
	if v.Message == "" {
		return string(v.Reason)
	}
	return string(v.Reason) + ": " + v.Message
}
