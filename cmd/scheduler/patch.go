package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
	fwk "k8s.io/kube-scheduler/framework"
	apicalls "k8s.io/kubernetes/pkg/scheduler/framework/api_calls"
	"k8s.io/kubernetes/pkg/scheduler/util"

	"retinue.dev/retinue/pkg/gang"
)

// lacksStatus tells whether a pod has to be given the annotation although nothing else of it changes. What it carries is not read.
func lacksStatus(pod *v1.Pod, text string) bool {
	_, written := pod.Annotations[gang.AnnotationStatus]
	return text != "" && !written
}

// patch writes a pod's status and the annotation by one call. The API server takes annotations with a status, so nobody needs more rights
// for it than kube-scheduler has.
func patch(ctx context.Context, client kubernetes.Interface, pod *v1.Pod, status *v1.PodStatus, text string) error {
	changed := v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: pod.UID}, Status: *status} // of another pod of its name it is a conflict
	if text != "" {
		changed.Annotations = map[string]string{gang.AnnotationStatus: text}
	}
	before, err := json.Marshal(v1.Pod{Status: pod.Status})
	if err != nil {
		return fmt.Errorf("encode a pod: %w", err)
	}
	after, err := json.Marshal(changed)
	if err != nil {
		return fmt.Errorf("encode a pod: %w", err)
	}
	data, err := strategicpatch.CreateTwoWayMergePatch(before, after, v1.Pod{})
	if err != nil {
		return fmt.Errorf("make a patch: %w", err)
	}
	return retry.OnError(retry.DefaultBackoff, util.Retriable, func() error {
		_, err := client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, data, metav1.PatchOptions{}, "status")
		return err
	})
}

// patchCall is kube-scheduler's call that writes a pod's status, where calls are asynchronous, and the annotation with it.
type patchCall struct {
	*apicalls.PodStatusPatchCall
	text string

	mu  sync.Mutex // guards pod
	pod *v1.Pod    // as it was heard of last
}

func newPatchCall(pod *v1.Pod, text string, conditions []*v1.PodCondition, nominating *fwk.NominatingInfo) *patchCall {
	return &patchCall{PodStatusPatchCall: apicalls.NewPodStatusPatchCall(pod, conditions, nominating), text: text, pod: pod}
}

// Execute makes the call.
func (c *patchCall) Execute(ctx context.Context, client kubernetes.Interface) error {
	pod := c.known()
	object, err := c.PodStatusPatchCall.Sync(pod)
	if err != nil {
		return err
	}
	changed := object.(*v1.Pod) // Sync answers with what it is given
	if changed == pod && !lacksStatus(pod, c.text) {
		return nil
	}
	return patch(ctx, client, pod, &changed.Status, c.text)
}

func (c *patchCall) known() *v1.Pod {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pod
}

// Sync hears of the pod.
func (c *patchCall) Sync(object metav1.Object) (metav1.Object, error) {
	if pod, is := object.(*v1.Pod); is {
		c.mu.Lock()
		c.pod = pod
		c.mu.Unlock()
	}
	return c.PodStatusPatchCall.Sync(object)
}

// Merge takes what a former call would have written besides.
func (c *patchCall) Merge(former fwk.APICall) error {
	if former, is := former.(*patchCall); is {
		return c.PodStatusPatchCall.Merge(former.PodStatusPatchCall)
	}
	return c.PodStatusPatchCall.Merge(former)
}

// IsNoOp tells whether nothing would change.
func (c *patchCall) IsNoOp() bool {
	return c.PodStatusPatchCall.IsNoOp() && !lacksStatus(c.known(), c.text)
}
