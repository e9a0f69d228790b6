package plugin

import (
	"context"
	"encoding/json"
	"fmt"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/gang"
)

// pods is what is written on pods, besides their bindings. Every change names the UID, so that none reaches another pod of the name.
type pods struct {
	client kubernetes.Interface
	clock  clock.PassiveClock
	// names tells whether pods, users and queues of others are named.
	names bool
}

// patchStatus changes the status of a pod, and annotations with it, if it is still the one with this UID and, where one is given, resource
// version; otherwise it answers with a conflict. That the pod has gone is no error.
func (ps pods) patchStatus(ctx context.Context, pod *v1.Pod, only metav1.ObjectMeta, change map[string]any) error {
	precondition := map[string]any{"uid": only.UID}
	if len(only.Annotations) > 0 {
		precondition["annotations"] = only.Annotations
	}
	if only.ResourceVersion != "" {
		precondition["resourceVersion"] = only.ResourceVersion
	}
	err := ps.patch(ctx, pod, map[string]any{"metadata": precondition, "status": change}, "status")
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// patch changes a pod, or a subresource of it.
func (ps pods) patch(ctx context.Context, pod *v1.Pod, change map[string]any, subresources ...string) error {
	patch, err := json.Marshal(change)
	if err != nil {
		return fmt.Errorf("encode a patch: %w", err)
	}
	_, err = ps.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, subresources...)
	return err
}

// disrupt writes on a pod why it goes, for the controllers that make another: the Eviction API does so by itself.
func (ps pods) disrupt(ctx context.Context, pod *v1.Pod, verdict gang.Verdict) error {
	return ps.patch(ctx, pod, map[string]any{
		"metadata": map[string]any{"uid": pod.UID},
		"status": map[string]any{"conditions": []v1.PodCondition{{
			Type:               v1.DisruptionTarget,
			Status:             v1.ConditionTrue,
			Reason:             v1.PodReasonPreemptionByScheduler,
			Message:            verdict.Say(ps.names),
			LastTransitionTime: metav1.NewTime(ps.clock.Now()),
		}}},
	}, "status")
}
