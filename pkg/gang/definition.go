package gang

import (
	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/resource"
)

// Key names a gang within the cluster: the namespace and the application id that all its pods carry
// (spark-app-selector for Spark), or the pod's own name for a pod that belongs to nothing.
type Key struct{ Namespace, Name string }

// String is the form used in logs and events.
func (k Key) String() string { return k.Namespace + "/" + k.Name }

// Definition is what a leader's application will ask for once it runs.
type Definition struct {
	// Roles are the kinds of workers, in the order in which they were declared. Empty means a leader alone.
	Roles []Role
	// Source says where the definition comes from, for people: "spark.properties", "annotations", "pod".
	Source string
	// Assumed is what workers are thought to get because their leader did, for people; empty means nothing. Every role of which
	// something is assumed has a Plain pod.
	Assumed string
	// Rehearsed means that room is not all that decides where workers may go: the framework's filters have to be asked about the
	// whole gang.
	Rehearsed bool
	// Warnings are sentences for the user about what could not be taken at its word; empty means none.
	Warnings []string
}

// Role is a set of identical workers.
type Role struct {
	// Name is unique within the gang: "executor" for Spark.
	Name string
	// Count is how many workers the leader asks for as soon as it runs. Every one of them has a slot before the
	// leader is bound: it is the role's minimum until the gang runs. Zero means the leader starts alone.
	Count int
	// Minimum is how many slots the role keeps once the gang runs: a lost worker's slot waits for its replacement
	// while fewer than Minimum are alive. At most Count.
	Minimum int
	// Maximum is how many workers the role may grow to; those above Count are elastic and have no slots. At least
	// Count. nil means without limit.
	Maximum *int
	// Selector is the labels by which a pod in the leader's namespace is known as one of these workers: a pod has to
	// carry all of them. Empty only in a gang without a leader, whose pods name it themselves.
	Selector map[string]string
	// Requests is what one worker asks of a node: resource.OfPod(Pod).
	Requests resource.Vector
	// Signature is equal for workers that ask for the same of a node, apart from Requests.
	Signature string
	// Pod is a worker as its leader will create it, as far as scheduling is concerned. It is never modified and
	// never nil.
	Pod *v1.Pod
	// Plain is the worker without what is assumed of it; nil means that nothing is. Never modified.
	Plain *v1.Pod
}

// Workers is how many slots the gang needs before its leader may be bound.
func (d Definition) Workers() int {
	n := 0
	for _, role := range d.Roles {
		n += role.Count
	}
	return n
}

// Role finds a role by name; nil means there is none.
func (d Definition) Role(name string) *Role {
	for i := range d.Roles {
		if d.Roles[i].Name == name {
			return &d.Roles[i]
		}
	}
	return nil
}
