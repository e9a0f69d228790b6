package plugin

import (
	"testing"

	"github.com/stretchr/testify/assert"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Whom an event may help: everybody but those that the ledger keeps, and those that are about to be tried.
func TestEventsConcernEverybodyWhomTheLedgerDoesNotKeep(t *testing.T) {
	p := newPending(func(name string) bool { return name == profile })
	kept := lone("kept", 1)
	p.seen(kept)
	p.judged(kept, false, 0)
	named := func() []types.NamespacedName {
		result := p.candidates()
		assert.False(t, result.AllPods)
		return result.Pods
	}
	assert.Empty(t, named())

	pod := lone("p", 1)
	name := []types.NamespacedName{nameOf(pod)}
	p.seen(pod)
	assert.Equal(t, name, named(), "nobody has judged it: it may be another scheduler's, or wait for another plugin")
	p.judged(pod, true, 0)
	assert.Empty(t, named(), "it will be tried")
	p.seen(pod)
	assert.Empty(t, named(), "nothing new is seen of it")
	p.failed(pod, false)
	assert.Equal(t, name, named(), "somebody else has refused it")
	p.failed(pod, true)
	assert.Empty(t, named(), "the ledger keeps it")

	p.judged(pod, true, 0)
	p.sweep()
	assert.Empty(t, named())
	p.sweep()
	assert.Equal(t, name, named(), "let through long ago and never tried: another plugin keeps it")

	member := lone("p", 1)
	member.Spec.SchedulingGroup = &v1.PodSchedulingGroup{}
	p.judged(member, true, 0)
	assert.Equal(t, name, named(), "its group may have been tried")

	p.seen(lone("q", 1))
	assert.True(t, p.candidates().AllPods, "more are to be named than are kept")

	foreign := lone("r", 1)
	foreign.Spec.SchedulerName = "another"
	p.seen(foreign)
	assert.NotContains(t, p.open, nameOf(foreign), "another scheduler's")

	bound := lone("p", 1)
	bound.Spec.NodeName = "a"
	p.seen(bound)
	assert.Equal(t, []types.NamespacedName{{Namespace: pod.Namespace, Name: "q"}}, named())
	another := lone("q", 1)
	another.UID = "another"
	p.gone(another)
	assert.Len(t, named(), 1, "it was another of the name")
	p.gone(lone("q", 1))
	assert.Empty(t, named())
	p.gone(kept)
	assert.Empty(t, p.pods)
}
