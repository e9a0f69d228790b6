package inventory

import (
	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
)

// Pods are several equal pods that have to find room.
type Pods struct {
	// Name is what people call one of them, in the singular.
	Name string
	// Pod is one of them, as far as the rules go by which it may use a node. It must not be modified.
	Pod      *v1.Pod
	Requests resource.Vector // of one
	Count    int
}

// Demand is what has to find room as one: a gang, or a pod by itself.
type Demand struct {
	// Leader is one pod whose node is chosen before those of the others; nil where nobody goes first.
	Leader *Pods
	Roles  []Pods
	// Strategy is how to lay them out.
	Strategy placement.Strategy
}

// All is the same demand with the leader as one of the roles, the first: for whoever asks only where everybody goes.
func (d Demand) All() Demand {
	if d.Leader == nil {
		return d
	}
	return Demand{Roles: append([]Pods{*d.Leader}, d.Roles...), Strategy: d.Strategy}
}

// On puts a demand to the nodes of a view, in the words of placement.
func (d Demand) On(view *View) placement.Gang {
	asked := placement.Gang{Strategy: d.Strategy}
	member := func(pods Pods) placement.Member {
		return placement.Member{Name: pods.Name, Request: pods.Requests, Eligible: view.Eligible(pods.Pod)}
	}
	if d.Leader != nil {
		leader := member(*d.Leader)
		asked.Leader = &leader
	}
	for _, pods := range d.Roles {
		asked.Roles = append(asked.Roles, placement.Role{Member: member(pods), Count: pods.Count})
	}
	return asked
}

// Eligible is which nodes of the view may hold a pod, resources aside.
func (v *View) Eligible(pod *v1.Pod) func(node int) bool {
	eligible := placement.Eligibility(pod)
	if placement.Constrained(pod) {
		return func(node int) bool { return eligible(v.Object(node)) }
	}
	return func(node int) bool { return v.Open(node) || eligible(v.Object(node)) }
}
