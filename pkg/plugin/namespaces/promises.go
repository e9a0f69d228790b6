package namespaces

import (
	"cmp"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/limits"
	"retinue.dev/retinue/pkg/spark"
)

// A ResourceQuota is asked when a pod is created, and a driver that runs is refused its executors then. So a gang waits while its
// namespace's quotas lack what its workers will ask for, besides what the workers of gangs that were just admitted will: they
// hold slots, and are counted in no quota before they exist.

// mostDue bounds how many are sent through the Gate again at a time.
const mostDue = 64

// promises are what quotas owe to the workers of admitted gangs, and who waits for quotas.
type promises struct {
	mu sync.Mutex // guards everything below

	// promised: namespace -> leader of an admitted gang whose workers have not all been there yet.
	promised map[string]map[types.UID]promise
	// workers that exist: leader -> how many.
	workers map[types.UID]int
	// waiting: namespace -> leader -> itself.
	waiting map[string]map[types.UID]*waiter
	// stirred are the namespaces in which a quota may have room again for one that waits.
	stirred map[string]bool
}

// promise is what one gang's workers will ask for.
type promise struct {
	role  gang.Role
	until time.Time // when nobody waits for the workers any more
}

// waiter is a leader that waits for a quota.
type waiter struct {
	pod  *v1.Pod
	need limits.Need
}

func newPromises() promises {
	return promises{
		promised: map[string]map[types.UID]promise{}, workers: map[types.UID]int{}, waiting: map[string]map[types.UID]*waiter{}, stirred: map[string]bool{},
	}
}

// put adds to a map of maps, and remove takes from one.
func put[T any](all map[string]map[types.UID]T, namespace string, uid types.UID, item T) {
	if all[namespace] == nil {
		all[namespace] = map[types.UID]T{}
	}
	all[namespace][uid] = item
}

func remove[T any](all map[string]map[types.UID]T, namespace string, uid types.UID) {
	if delete(all[namespace], uid); len(all[namespace]) == 0 {
		delete(all, namespace)
	}
}

// stir looks again at who waits in a namespace.
func (p *promises) stir(namespace string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting[namespace]) > 0 {
		p.stirred[namespace] = true
	}
}

// owed is what is promised in a namespace. Promises that are kept, or too old, end.
func (p *promises) owed(of limits.Namespace, namespace string, now time.Time) limits.Need {
	owed := limits.Need{}
	for leader, promise := range p.promised[namespace] {
		role := promise.role
		role.Count -= p.workers[leader]
		if role.Count <= 0 || now.After(promise.until) {
			remove(p.promised, namespace, leader)
			continue
		}
		owed.Add(of.NeedOf([]gang.Role{role}))
	}
	return owed
}

// Short is what quotas lack at present for the workers of a gang that is about to be admitted; nil means nothing. One for whom
// something lacks waits, and is Due when it does not any more.
func (n *Namespaces) Short(leader *v1.Pod, roles []gang.Role) *limits.Lack {
	of := n.Of(leader.Namespace)
	if len(of.Quotas) == 0 {
		return nil
	}
	need := of.NeedOf(roles)
	p := &n.promises
	p.mu.Lock()
	defer p.mu.Unlock()
	short := of.Short(need, p.owed(of, leader.Namespace, n.outside.Clock.Now()))
	if short != nil {
		put(p.waiting, leader.Namespace, leader.UID, &waiter{leader, need})
	} else {
		remove(p.waiting, leader.Namespace, leader.UID)
	}
	return short
}

// Admitted takes that a gang has been admitted, of which the quotas will be asked for its workers. Only those of Spark are known by
// their owner.
func (n *Namespaces) Admitted(leader *v1.Pod, roles []gang.Role, patience time.Duration) {
	if !spark.IsDriver(leader) || len(roles) != 1 || roles[0].Count == 0 {
		return
	}
	p := &n.promises
	p.mu.Lock()
	defer p.mu.Unlock()
	put(p.promised, leader.Namespace, leader.UID, promise{roles[0], n.outside.Clock.Now().Add(patience)})
}

// Dropped takes that a leader has ended, or was not admitted after all.
func (n *Namespaces) Dropped(leader *v1.Pod) {
	n.promises.mu.Lock()
	defer n.promises.mu.Unlock()
	n.promises.drop(leader)
}

func (p *promises) drop(leader *v1.Pod) {
	remove(p.waiting, leader.Namespace, leader.UID)
	if _, promised := p.promised[leader.Namespace][leader.UID]; promised {
		remove(p.promised, leader.Namespace, leader.UID)
		if len(p.waiting[leader.Namespace]) > 0 {
			p.stirred[leader.Namespace] = true
		}
	}
}

// Seen takes that a pod exists, and Gone that it does not any more, each once.
func (n *Namespaces) Seen(pod *v1.Pod) { n.promises.count(pod, 1) }

// Gone as said.
func (n *Namespaces) Gone(pod *v1.Pod) {
	n.promises.count(pod, -1)
	if spark.IsDriver(pod) {
		n.Dropped(pod)
	}
}

// count counts the executors of a driver.
func (p *promises) count(pod *v1.Pod, sign int) {
	if !spark.IsExecutor(pod) {
		return
	}
	owner := metav1.GetControllerOf(pod)
	if owner == nil || owner.Kind != "Pod" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.workers[owner.UID] += sign; p.workers[owner.UID] <= 0 {
		delete(p.workers, owner.UID)
	}
	if promised, is := p.promised[pod.Namespace][owner.UID]; is && p.workers[owner.UID] >= promised.role.Count {
		remove(p.promised, pod.Namespace, owner.UID) // the quotas have counted all of them
	}
	if len(p.waiting[pod.Namespace]) > 0 {
		p.stirred[pod.Namespace] = true
	}
}

// Due are those who waited for quotas and lack nothing any more, those first that the scheduler would try first, as far as quotas go.
func (n *Namespaces) Due() []*v1.Pod {
	p := &n.promises
	p.mu.Lock()
	defer p.mu.Unlock()
	var due []*v1.Pod
	for namespace := range p.stirred {
		of := n.Of(namespace)
		owed := p.owed(of, namespace, n.outside.Clock.Now())
		waiters := make([]*waiter, 0, len(p.waiting[namespace]))
		for _, w := range p.waiting[namespace] {
			waiters = append(waiters, w)
		}
		slices.SortFunc(waiters, func(a, b *waiter) int {
			return cmp.Or(-cmp.Compare(corev1helpers.PodPriority(a.pod), corev1helpers.PodPriority(b.pod)),
				a.pod.CreationTimestamp.Compare(b.pod.CreationTimestamp.Time), cmp.Compare(a.pod.UID, b.pod.UID))
		})
		for _, w := range waiters {
			if len(due) == mostDue {
				return due // the rest of the namespace is looked at next time
			}
			if of.Short(w.need, owed) == nil {
				owed.Add(w.need)
				due = append(due, w.pod)
				remove(p.waiting, namespace, w.pod.UID)
			}
		}
		delete(p.stirred, namespace)
	}
	return due
}

// All looks again at everybody who waits: promises end with time.
func (n *Namespaces) All() {
	n.promises.mu.Lock()
	defer n.promises.mu.Unlock()
	now := n.outside.Clock.Now()
	for namespace, promised := range n.promises.promised {
		for leader, promise := range promised {
			if now.After(promise.until) {
				remove(n.promises.promised, namespace, leader)
			}
		}
	}
	for namespace := range n.promises.waiting {
		n.promises.stirred[namespace] = true
	}
}
