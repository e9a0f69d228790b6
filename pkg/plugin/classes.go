package plugin

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/gang"
)

// errNoClass means that the API server will refuse workers because a class that they name does not exist. Somebody may create it.
var errNoClass = errors.New("does not exist: the API server will refuse it")

// classes looks for the PriorityClass and the RuntimeClass that workers name. Those of their leader exist, as it does. What cannot be
// asked for, because the scheduler may not or nobody answers, keeps nobody from starting.
func (r *reader) classes(ctx context.Context, leader *v1.Pod, roles []gang.Role) error {
	for _, role := range roles {
		if role.Pod == nil {
			continue
		}
		spec := &role.Pod.Spec
		if name := spec.PriorityClassName; name != "" && name != leader.Spec.PriorityClassName {
			if _, err := r.client.SchedulingV1().PriorityClasses().Get(ctx, name, metav1.GetOptions{}); apierrors.IsNotFound(err) {
				return fmt.Errorf("PriorityClass %s of a pod of role %s %w", name, role.Name, errNoClass)
			}
		}
		name := spec.RuntimeClassName
		if name == nil || *name == "" || leader.Spec.RuntimeClassName != nil && *name == *leader.Spec.RuntimeClassName {
			continue
		}
		if _, err := r.client.NodeV1().RuntimeClasses().Get(ctx, *name, metav1.GetOptions{}); apierrors.IsNotFound(err) {
			return fmt.Errorf("RuntimeClass %s of a pod of role %s %w", *name, role.Name, errNoClass)
		}
	}
	return nil
}
