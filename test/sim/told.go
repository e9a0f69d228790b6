package sim

import (
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"retinue.dev/retinue/pkg/resource"
)

// told is what the plugin of a replica has been told, kept without its help: what its ledger has to agree with.
type told struct {
	nodes map[string]*v1.Node
	pods  map[types.UID]*member
	// buried are pods that it has been told have gone.
	buried map[types.UID]bool
	// used is the sum of what the pods on a node ask for, bound and reserved: node -> sum.
	used map[string]resource.Vector
	// changes counts what it has been told.
	changes int
	// since is when the ledger knew the cluster; zero before. came counts the pods of which it has heard since openedFor after that.
	since time.Time
	came  int
}

// openedFor is how long after the ledger knows the cluster every pod of which the plugin hears was created after that.
const openedFor = 10 * time.Second

// member is a pod and where it counts.
type member struct {
	pod      *v1.Pod // as last told; nil when only its reservation is known
	last     *v1.Pod // as last told or reserved
	reserved string  // node that a scheduling cycle reserved for it and has not given back; empty means none
	counted  string  // node in whose sum it is; empty means none
	requests resource.Vector
	bound    time.Time // when it was first told that the pod has a node
	place    int       // among those that have come since the plugin knows the cluster; 0 for others
}

func newTold() told {
	return told{nodes: map[string]*v1.Node{}, pods: map[types.UID]*member{}, buried: map[types.UID]bool{}, used: map[string]resource.Vector{}}
}

// hear takes what a listener of the plugin is about to be told.
func (t *told) hear(k kind, n notification) {
	t.changes++
	if k == nodeKind {
		switch n.what {
		case watch.Deleted:
			delete(t.nodes, last(n.old).GetName())
		default:
			t.nodes[n.new.GetName()] = n.new.(*v1.Node)
		}
		return
	}
	if n.what == watch.Deleted {
		t.bury(last(n.old).GetUID())
		return
	}
	if n.what == watch.Modified {
		// One update stands for a deletion and a creation that were missed.
		if before := last(n.old).GetUID(); before != n.new.GetUID() {
			t.bury(before)
		}
	}
	pod := n.new.(*v1.Pod)
	m := t.member(pod.UID)
	if m.last == nil && !t.since.IsZero() && time.Since(t.since) > openedFor {
		t.came++
		m.place = t.came
	}
	if m.pod, m.last = pod, pod; pod.Spec.NodeName != "" && m.bound.IsZero() {
		m.bound = time.Now()
	}
	t.count(m, requestsOf(pod))
}

func last(old any) object {
	if unknown, missed := old.(cache.DeletedFinalStateUnknown); missed {
		return unknown.Obj.(object)
	}
	return old.(object)
}

func (t *told) member(uid types.UID) *member {
	m := t.pods[uid]
	if m == nil {
		m = &member{}
		t.pods[uid] = m
	}
	return m
}

func (t *told) bury(uid types.UID) {
	t.buried[uid] = true
	if m := t.pods[uid]; m != nil {
		m.pod, m.reserved = nil, ""
		t.count(m, m.requests)
		delete(t.pods, uid)
	}
}

// missed notes that a pod has gone whose end the informer has read and not told yet: the Gate looks (seeds 30000242 and 31000658).
func (r *replica) missed(pod *v1.Pod) {
	if known, there := r.pods.store.get(keyOf(pod)); !there || known.GetUID() != pod.UID {
		r.told.bury(pod.UID)
	}
}

// reserve notes that a scheduling cycle has given a pod a node; an empty node, that it gave it back. A pod that has
// gone counts nowhere.
func (t *told) reserve(pod *v1.Pod, node string) {
	t.changes++
	if t.buried[pod.UID] {
		return
	}
	m := t.member(pod.UID)
	m.reserved = node
	if m.pod != nil {
		pod = m.pod
	}
	m.last = pod
	t.count(m, requestsOf(pod))
}

// count puts a pod into the sum of the node where it is: bound there, or else reserved.
func (t *told) count(m *member, requests resource.Vector) {
	if m.counted != "" {
		t.used[m.counted] = t.used[m.counted].Sub(m.requests)
	}
	m.requests, m.counted = requests, m.reserved
	if m.pod != nil && m.pod.Spec.NodeName != "" {
		m.counted = m.pod.Spec.NodeName
		m.reserved = ""
	}
	if m.counted != "" {
		t.used[m.counted] = t.used[m.counted].Add(requests)
	}
}
