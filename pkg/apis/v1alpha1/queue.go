package v1alpha1

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// QueueOrder is how the gangs of one queue take turns, after their priority.
// +kubebuilder:validation:Enum=FIFO;Fair
type QueueOrder string

const (
	// FIFO: the gang that waits longest is next.
	FIFO QueueOrder = "FIFO"
	// Fair: the gang of the user who holds least of the queue is next.
	Fair QueueOrder = "Fair"
)

// QueueState is what a queue still lets in.
// +kubebuilder:validation:Enum=Open;Draining;Stopped
type QueueState string

const (
	// Open: gangs start.
	Open QueueState = "Open"
	// Draining: no gang starts; those that run go on, and grow.
	Draining QueueState = "Draining"
	// Stopped: no gang starts and none grows; those that run go on.
	Stopped QueueState = "Stopped"
)

// Amounts of some resources. One that is not listed is absent, which is something else than zero.
// +kubebuilder:validation:MaxProperties=32
// +kubebuilder:validation:XValidation:rule="self.all(r, !quantity(string(self[r])).isLessThan(quantity('0')))",message="amounts must not be negative"
type Amounts map[v1.ResourceName]Amount

// Amount of a resource. Its length is bounded because the API server refuses rules whose cost it cannot bound.
// +kubebuilder:validation:Type=""
// +kubebuilder:validation:XIntOrString
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:Pattern=`^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$`
type Amount struct {
	resource.Quantity `json:",inline"`
}

// Queue is a share of the cluster for some namespaces, or for the queues below it.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Parent",type=string,JSONPath=`.spec.parent`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.spec.state`
// +kubebuilder:printcolumn:name="CPU",type=string,JSONPath=`.status.columns.cpu`,description="used/guaranteed/limit"
// +kubebuilder:printcolumn:name="Memory",type=string,JSONPath=`.status.columns.memory`,description="used/guaranteed/limit"
// +kubebuilder:printcolumn:name="Borrowed",type=string,JSONPath=`.status.columns.borrowed`
// +kubebuilder:printcolumn:name="Running",type=integer,JSONPath=`.status.running`
// +kubebuilder:printcolumn:name="Waiting",type=integer,JSONPath=`.status.waiting`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.topReason`,description="why most of those who wait do"
// +kubebuilder:printcolumn:name="Valid",type=string,JSONPath=`.status.conditions[?(@.type=="Valid")].status`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="!has(self.spec) || !has(self.spec.parent) || self.spec.parent != self.metadata.name",message="a queue cannot be its own parent",fieldPath=".spec.parent"
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="the name of a queue has at most 63 characters, because it is a label's value"
type Queue struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec QueueSpec `json:"spec,omitempty"`
	// +optional
	Status QueueStatus `json:"status,omitempty"`
}

// QueueSpec is what an administrator says about a queue. What contradicts other queues is a condition of the object.
// +kubebuilder:validation:XValidation:rule="!has(self.guaranteed) || !has(self.limit) || self.guaranteed.all(r, !(r in self.limit) || !quantity(string(self.guaranteed[r])).isGreaterThan(quantity(string(self.limit[r]))))",message="what is guaranteed must be at most the limit, for each resource",fieldPath=".guaranteed"
// +kubebuilder:validation:XValidation:rule="!has(self.nodeSelector) || !has(self.parent)",message="a queue with a parent has the nodes of the queue at the top of its tree",fieldPath=".nodeSelector"
type QueueSpec struct {
	// Parent is the queue this one is a part of. Without a parent it stands at the top.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Parent string `json:"parent,omitempty"`

	// NodeSelector makes the nodes with these labels the queue's pool: they count for it and all below it, and for no other queue
	// that does not select the same, in what is guaranteed, lent, shared and in use. Where pods may run is said by the pods
	// themselves. Only a queue without a parent has one; without it, the nodes count that no queue selects.
	// +optional
	// +kubebuilder:validation:XValidation:rule="has(self.matchLabels) && size(self.matchLabels) > 0 || has(self.matchExpressions) && size(self.matchExpressions) > 0",message="it must not be empty: an empty selector selects every node"
	// +kubebuilder:validation:XValidation:rule="(has(self.matchLabels) ? size(self.matchLabels) : 0) + (has(self.matchExpressions) ? size(self.matchExpressions) : 0) <= 16",message="it must have at most 16 labels and expressions"
	NodeSelector *metav1.LabelSelector `json:"nodeSelector,omitempty"`

	// Namespaces whose pods belong to the queue.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	Namespaces []string `json:"namespaces,omitempty"`

	// NamespaceSelector adds the namespaces with these labels, unless another queue names them. An empty selector
	// selects all namespaces, no selector none.
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`

	// PerNamespace makes a queue below this one of every namespace that belongs to it, named QUEUE/NAMESPACE, so that a
	// namespace has its queue as soon as it exists. Without it all namespaces share this one.
	// +optional
	PerNamespace *QueueTemplate `json:"perNamespace,omitempty"`

	// Guaranteed is what the queue gets before others borrow. A resource that is not listed is not guaranteed.
	// +optional
	Guaranteed Amounts `json:"guaranteed,omitempty"`

	// Limit is what the queue, with all below it, never exceeds. A resource that is not listed is not limited; zero
	// means none of it.
	// +optional
	Limit Amounts `json:"limit,omitempty"`

	// Weight is the queue's part of what guarantees leave over, among its siblings. With 0 it gets what no sibling
	// wants.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	Weight *int32 `json:"weight,omitempty"`

	// MaxRunningGangs is how many gangs of the queue and all below it run at most. Without it any number may.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MaxRunningGangs *int32 `json:"maxRunningGangs,omitempty"`

	// MaxLeaderShare is the percentage, of what the queue may use at most, that drivers may hold, so that they leave
	// room for executors. One driver always passes. Without it they may hold everything.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	MaxLeaderShare *int32 `json:"maxLeaderShare,omitempty"`

	// Order of the queue's own gangs, after their priority: FIFO, or Fair between its users.
	// +optional
	// +kubebuilder:default=FIFO
	Order QueueOrder `json:"order,omitempty"`

	// Priority is compared among siblings that are below their guarantees: higher goes first.
	// +optional
	// +kubebuilder:default=0
	Priority int32 `json:"priority,omitempty"`

	// State is what the queue still lets in: Open, Draining (no gang starts), or Stopped (and none grows). What runs
	// goes on. It counts for the queues below as well.
	// +optional
	// +kubebuilder:default=Open
	State QueueState `json:"state,omitempty"`

	// Users are what the queue gives to each of its users.
	// +optional
	Users *QueueUsers `json:"users,omitempty"`

	// Reclaim is how the queue gets back what it has lent, and what is never taken from it.
	// +optional
	Reclaim *QueueReclaim `json:"reclaim,omitempty"`

	// Placement of the queue's gangs, instead of the scheduler's own.
	// +optional
	// +kubebuilder:validation:Enum=Pack;Spread;SingleZone;PreferSingleZone
	Placement Placement `json:"placement,omitempty"`
}

// QueueTemplate is what the queues of namespaces are like. Its fields mean what they mean in a Queue; what it does not have is as
// in the queue above.
// +kubebuilder:validation:XValidation:rule="!has(self.guaranteed) || !has(self.limit) || self.guaranteed.all(r, !(r in self.limit) || !quantity(string(self.guaranteed[r])).isGreaterThan(quantity(string(self.limit[r]))))",message="what is guaranteed must be at most the limit, for each resource",fieldPath=".guaranteed"
type QueueTemplate struct {
	// +optional
	Guaranteed Amounts `json:"guaranteed,omitempty"`
	// +optional
	Limit Amounts `json:"limit,omitempty"`
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	Weight *int32 `json:"weight,omitempty"`
	// +optional
	// +kubebuilder:validation:Minimum=0
	MaxRunningGangs *int32 `json:"maxRunningGangs,omitempty"`
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	MaxLeaderShare *int32 `json:"maxLeaderShare,omitempty"`
}

// QueueUsers are what a queue gives to each of its users.
type QueueUsers struct {
	// MinimumShare is a percentage of a FIFO queue: users who hold less than this, or less than an equal part among all
	// who want something, go before those who hold more. Without it users are not told apart.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	MinimumShare *int32 `json:"minimumShare,omitempty"`

	// Limit is what one user never exceeds in the queue and all below it. A resource that is not listed is not limited.
	// +optional
	Limit Amounts `json:"limit,omitempty"`

	// MaxRunningGangs is how many gangs of one user run at most in the queue and all below it. Without it any number may.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MaxRunningGangs *int32 `json:"maxRunningGangs,omitempty"`
}

// QueueReclaim is how lent resources come back.
type QueueReclaim struct {
	// Enabled: the queue takes back, up to its guarantee, what others have borrowed. Otherwise it waits until they end.
	// +optional
	// +kubebuilder:default=false
	Enabled bool `json:"enabled,omitempty"`

	// After is how long a gang within the guarantee waits before anything is taken for it.
	// +optional
	// +kubebuilder:default="15s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s')",message="must not be negative"
	After *metav1.Duration `json:"after,omitempty"`

	// Grace is how long a pod that has to go may take to end. Without it the pod's own termination grace period counts.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s')",message="must not be negative"
	Grace *metav1.Duration `json:"grace,omitempty"`

	// Budget is the percentage of its guarantee that the queue takes back in one round; the first gang always passes,
	// however large. Without it everything may come back at once.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Budget *int32 `json:"budget,omitempty"`

	// DeadZone is the percentage of its guarantee by which the queue may exceed it before anything is taken from it.
	// +optional
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	DeadZone *int32 `json:"deadZone,omitempty"`

	// Utilization is the percentage of the queue's pool of nodes that has to be in use, of what a gang lacks, before anything is taken for
	// it: below it an autoscaler may be about to add nodes.
	// +optional
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Utilization int32 `json:"utilization,omitempty"`

	// Exempt: nothing is ever taken from the queue or one below it. What it borrows comes back when its gangs end.
	// +optional
	// +kubebuilder:default=false
	Exempt bool `json:"exempt,omitempty"`

	// Protect is how long a gang, or a pod by itself, of the queue or one below it runs before it is taken back as a whole for another
	// queue. The longest of the queue and those above it counts. Without it the youngest goes first, however young it is.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s')",message="must not be negative"
	Protect *metav1.Duration `json:"protect,omitempty"`

	// DryRun: what would be taken for the queue is said and not done.
	// +optional
	// +kubebuilder:default=false
	DryRun bool `json:"dryRun,omitempty"`
}

// QueueStatus is what the scheduler makes of a queue.
type QueueStatus struct {
	// ObservedGeneration of the spec that the rest is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions: Valid is False while something in the spec does not count as written, and its message says what counts.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Used by the queue and all below it: running pods and the slots kept for those to come.
	// +optional
	Used v1.ResourceList `json:"used,omitempty"`

	// Pool of a queue with a nodeSelector.
	// +optional
	Pool *QueuePool `json:"pool,omitempty"`

	// Guaranteed is what the nodes of its pool can keep of the guarantee.
	// +optional
	Guaranteed v1.ResourceList `json:"guaranteed,omitempty"`

	// FairShare is what the queue and all below it would hold now, of what they hold and wait for, if everything could be
	// divided at will: guarantees first, then by weight.
	// +optional
	FairShare v1.ResourceList `json:"fairShare,omitempty"`

	// Borrowed is what is used beyond the guarantee.
	// +optional
	Borrowed v1.ResourceList `json:"borrowed,omitempty"`

	// Running gangs.
	// +optional
	Running int64 `json:"running"`

	// Waiting gangs.
	// +optional
	Waiting int64 `json:"waiting"`

	// TopReason is why most of those who wait do.
	// +optional
	TopReason string `json:"topReason,omitempty"`

	// Waiters are the first of those who wait in the queue itself, a hundred at most: by priority, then rank, whole gangs before
	// elastic workers, and the longest wait first. What users and guarantees have got already may call another before them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Waiters []QueueWaiter `json:"waiters,omitempty"`

	// Columns are what kubectl get shows of the above.
	// +optional
	Columns QueueColumns `json:"columns,omitempty"`
}

// QueueWaiter is a gang, or a pod by itself, that waits.
type QueueWaiter struct {
	// Namespace of its pods.
	Namespace string `json:"namespace"`
	// Name of the driver, of the pod by itself, or of the pod that is tried for a gang without a leader.
	Name string `json:"name"`
	// Reason why it waits.
	Reason string `json:"reason"`
}

// QueuePool is the nodes that count for a queue.
type QueuePool struct {
	// Nodes that take new pods and are in no other pool.
	// +optional
	Nodes int64 `json:"nodes"`

	// Capacity is what they have in all.
	// +optional
	Capacity v1.ResourceList `json:"capacity,omitempty"`
}

// QueueColumns are texts for kubectl get.
type QueueColumns struct {
	// CPU as used/guaranteed/limit; a dash is what is not there.
	// +optional
	CPU string `json:"cpu,omitempty"`
	// Memory as used/guaranteed/limit.
	// +optional
	Memory string `json:"memory,omitempty"`
	// Borrowed resources in one line.
	// +optional
	Borrowed string `json:"borrowed,omitempty"`
}

// ConditionValid is the type of the condition that is False while something in a Queue does not count as written.
const ConditionValid = "Valid"

// QueueList is a list of Queues.
// +kubebuilder:object:root=true
type QueueList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Queue `json:"items"`
}
