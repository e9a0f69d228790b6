package sim

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"

	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/test/property"
)

// What rehearsals cost.
const (
	// nameOfDear is a filter that takes timeOfDear for every node it is asked about for a pod with the label labelDear.
	nameOfDear = "Dear"
	labelDear  = "dear"
	timeOfDear = 20 * time.Millisecond
	// mostSpent is how much time a namespace may have taken in the last spentIn when it is rehearsed again.
	spentIn   = 10 * time.Second
	mostSpent = spentIn / 10
)

// spent is the time that the strangers' rehearsals have taken.
type spent struct {
	cycle int // the last scheduling cycle with one
	at    []time.Time
}

type dear struct{ replica *replica }

// Name of the filter.
func (dear) Name() string { return nameOfDear }

// Filter takes its time, and every pod.
func (d dear) Filter(_ context.Context, _ fwk.CycleState, pod *v1.Pod, _ fwk.NodeInfo) *fwk.Status {
	if pod.Labels[labelDear] != "" {
		d.replica.spend()
	}
	return nil
}

// spend lets time pass. Whoever is rehearsed has had no more than a tenth of the time before.
func (r *replica) spend() {
	w, s, now := r.world, &r.spent, time.Now()
	for len(s.at) > 0 && now.Sub(s.at[0]) > spentIn {
		s.at = s.at[1:]
	}
	if sum := time.Duration(len(s.at)) * timeOfDear; s.cycle != w.stats.Cycles && sum > mostSpent {
		w.fail("share", "%s: the strangers are rehearsed again after %s of the last %s", r.name, sum, spentIn)
	}
	s.cycle, s.at = w.stats.Cycles, append(s.at, now)
	time.Sleep(timeOfDear)
}

// frugally runs code of the plugin that hears of a stranger's pod, once more if it has allocated very much: other seeds are played
// meanwhile. The invariant memory is what P1 of docs/security.md promises.
func (r *replica) frugally(about object, f func()) {
	if about == nil || about.GetNamespace() != namespaceOfStrangers {
		f()
		return
	}
	least := property.Allocated(f)
	for range 2 {
		if least > property.MostAllocated {
			least = min(least, property.Allocated(f))
		}
	}
	if least > property.MostAllocated {
		r.world.fail("memory", "%s: to hear of %s takes %d bytes", r.name, keyOf(about), least)
	}
}

// requestsOf is what a pod takes by kube-scheduler's own count. Only strangers have pods that are resized, or that ask for what does not
// count.
func requestsOf(pod *v1.Pod) resource.Vector {
	if pod.Namespace != namespaceOfStrangers {
		return resource.OfPod(pod)
	}
	info, err := framework.NewPodInfo(pod)
	if err != nil {
		panic("sim: " + err.Error())
	}
	counted := info.CalculateResource().Resource
	return resource.Vector{CPU: counted.GetMilliCPU(), Memory: counted.GetMemory(), EphemeralStorage: counted.GetEphemeralStorage(), Pods: 1}
}
