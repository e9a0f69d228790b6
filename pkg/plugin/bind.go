package plugin

import (
	"context"
	"errors"
	"fmt"
	"sync"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
)

// maxBindings is how many bindings are on their way to the API server at a time. A gang's pods are bound together, and the API
// server takes 100 requests at a time from a connection: client-go opens another for each that finds none free, and the TLS
// handshake of each costs as much as several bindings.
const maxBindings = 32

// bindings are pods on their way to the API server.
type bindings struct {
	// tokens holds one for every pod that is being bound.
	tokens chan struct{}
	// another tells whether the profile has another Bind plugin to ask.
	another func() bool
}

func newBindings(another func() bool) bindings {
	return bindings{tokens: make(chan struct{}, maxBindings), another: sync.OnceValue(another)}
}

// Bind binds a pod as kube-scheduler's own binder does, but for two things. There are not too many at a time. And the leader of
// a gang with workers is bound with its reservation: the API server merges the annotations of a binding into the pod, so
// node and reservation are written by one call, both or neither, and a restarted scheduler finds the slots of every bound
// leader. Likewise what a pod says of its wait is taken back. A patch before the binding would cost every gang two more calls, as kube-scheduler nominates a pod whose binding
// has anything to wait for.
//
// Every other pod is left to the Bind plugins that a profile puts between this one and kube-scheduler's own binder, if there are any.
func (p *Plugin) Bind(ctx context.Context, state fwk.CycleState, pod *v1.Pod, node string) *fwk.Status {
	leader, reservation := admittedOf(state), ""
	if leader == nil && p.bindings.another() {
		return fwk.NewStatus(fwk.Skip)
	}
	select {
	case p.bindings.tokens <- struct{}{}:
		defer func() { <-p.bindings.tokens }()
	case <-ctx.Done():
		return fwk.AsStatus(ctx.Err())
	}
	binding := &v1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     v1.ObjectReference{Kind: "Node", Name: node},
	}
	if leader != nil {
		var err error
		if reservation, err = p.reservations.text(pod); err != nil {
			return fwk.AsStatus(err)
		}
		if problem := annotationsProblem(pod, reservation); problem != "" {
			// Reserve has asked; a slot has moved since.
			return fwk.AsStatus(errors.New(problem))
		}
		binding.Annotations = map[string]string{AnnotationReservation: reservation}
		if annotationBytes(pod) > carefulAnnotations {
			binding.ResourceVersion = pod.ResourceVersion // nobody has added any since: both together might be too long
		}
	}
	if status, told := p.effects.notices.placed(pod); told {
		metav1.SetMetaDataAnnotation(&binding.ObjectMeta, gang.AnnotationStatus, status)
	}
	if err := p.handle.ClientSet().CoreV1().Pods(pod.Namespace).Bind(ctx, binding, metav1.CreateOptions{}); err != nil {
		return fwk.AsStatus(fmt.Errorf("bind: %w", err))
	}
	if leader == nil {
		return nil
	}
	leader.written = true
	if now, err := p.reservations.text(pod); err == nil && now != reservation {
		// A slot has moved meanwhile, and may have been written down before the binding wrote the former reservation.
		p.effects.add([]ledger.Effect{ledger.Save{Leader: pod}})
	}
	return nil
}
