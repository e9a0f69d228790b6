package gang

// Actor is who has to do something about a Reason before its pod can start.
type Actor string

const (
	// User who has asked for it: ask for something else.
	User Actor = "user"
	// QueueAdmin writes Queues.
	QueueAdmin Actor = "queue admin"
	// ClusterAdmin has the nodes.
	ClusterAdmin Actor = "cluster admin"
	// Nobody: it ends when others end, or by itself.
	Nobody Actor = "nobody"
)

// Tier is what kind of thing a Reason is about: of two that are true at once that of the lower tier is told.
type Tier int

const (
	// OfGang: the gang itself is wrong, or larger than what there is.
	OfGang Tier = iota + 1
	// OfState: somebody has closed something, or something has ended.
	OfState
	// OfCounts: as many run as may.
	OfCounts
	// OfLimits: as much is used as may be.
	OfLimits
	// OfOrder: others go first.
	OfOrder
	// OfNodes: nodes have no room.
	OfNodes
	// OfPods: what it needs to be whole is not there yet.
	OfPods
)
