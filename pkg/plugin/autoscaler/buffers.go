package autoscaler

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/scaleup"
)

// prefix of the names of all that is made.
const prefix = "retinue-"

// buffers are CapacityBuffers, in the namespace of the leader.
type buffers struct {
	dynamic   dynamic.Interface
	client    kubernetes.Interface
	domainKey string
}

// buffer is one that ought to be there, with its template of the same name.
type buffer struct {
	template *v1.PodTemplate
	replicas int
}

func (b buffers) objects(wanted ledger.ScaleUp) (map[types.NamespacedName]any, error) {
	leader := wanted.Leader
	objects := map[types.NamespacedName]any{}
	for role, pods := range wanted.Pods {
		template := scaleup.Template(leader.UID, pods, wanted.Strategy, b.domainKey)
		content, err := json.Marshal(template)
		if err != nil {
			return nil, fmt.Errorf("pod template of %s: %w", pods.Name, err)
		}
		hash := fnv.New32a()
		_, _ = fmt.Fprintf(hash, "%d %s", pods.Count, content) // never fails
		name := types.NamespacedName{Namespace: leader.Namespace, Name: fmt.Sprintf("%s%s-%d-%08x", prefix, leader.UID, role, hash.Sum32())}
		objects[name] = buffer{replicas: pods.Count, template: &v1.PodTemplate{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: name.Namespace, Name: name.Name,
				Labels:          map[string]string{scaleup.Label: string(leader.UID)},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: leader.Name, UID: leader.UID}},
			},
			Template: template,
		}}
	}
	return objects, nil
}

// object is the CapacityBuffer.
func (b buffer) object() *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"podTemplateRef": map[string]any{"name": b.template.Name}, "replicas": int64(b.replicas),
	}}}
	object.SetAPIVersion(Resource.GroupVersion().String())
	object.SetKind("CapacityBuffer")
	object.SetNamespace(b.template.Namespace)
	object.SetName(b.template.Name)
	object.SetLabels(b.template.Labels)
	object.SetOwnerReferences(b.template.OwnerReferences)
	return object
}

// create makes a template and the buffer that names it.
func (b buffers) create(ctx context.Context, name types.NamespacedName, object any) error {
	wanted := object.(buffer)
	if _, err := b.client.CoreV1().PodTemplates(name.Namespace).Create(ctx, wanted.template, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create a PodTemplate: %w", err)
	}
	if _, err := b.dynamic.Resource(Resource).Namespace(name.Namespace).Create(ctx, wanted.object(), metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create a CapacityBuffer: %w", err)
	}
	return nil
}

// remove deletes a buffer and its template.
func (b buffers) remove(ctx context.Context, name types.NamespacedName) error {
	if err := b.dynamic.Resource(Resource).Namespace(name.Namespace).Delete(ctx, name.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete CapacityBuffer %s: %w", name, err)
	}
	if err := b.client.CoreV1().PodTemplates(name.Namespace).Delete(ctx, name.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete PodTemplate %s: %w", name, err)
	}
	return nil
}

// bufferSeen is a buffer that came or changed.
func (a *Autoscaler) bufferSeen(buffer *unstructured.Unstructured) {
	if leader, ours := leaderOf(buffer); ours {
		answer, answered := answerOf(buffer)
		a.seen(leader, bufferKey(buffer), standing{answer: answer}, answered)
	}
}

// bufferGone is one that was deleted.
func (a *Autoscaler) bufferGone(buffer *unstructured.Unstructured) {
	if leader, ours := leaderOf(buffer); ours {
		a.gone(leader, bufferKey(buffer))
	}
}

// leaderOf is for whom an object was made; false if it is none of Retinue's.
func leaderOf(object metav1.Object) (types.UID, bool) {
	leader := object.GetLabels()[scaleup.Label]
	return types.UID(leader), leader != "" && strings.HasPrefix(object.GetName(), prefix+leader+"-")
}

func bufferKey(buffer *unstructured.Unstructured) key {
	return key{v1alpha1.ScaleUpCapacityBuffer, types.NamespacedName{Namespace: buffer.GetNamespace(), Name: buffer.GetName()}}
}

// failures is how Karpenter 1.15 says in the condition Provisioning how many of the pods have no room even on new nodes.
var failures = regexp.MustCompile(`\b[1-9][0-9]* failed\b`)

// answerOf is what an autoscaler has written into a buffer's conditions; false if it has written nothing. That nodes are still to come is
// the condition Provisioning=False, as is that they cannot come, so that only words tell these apart.
func answerOf(object *unstructured.Unstructured) (answer scaleup.Answer, answered bool) {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions") // of another form is nothing
	var words []string
	for _, condition := range conditions {
		fields, _ := condition.(map[string]any)
		said := func(name string) string {
			text, _ := fields[name].(string)
			return text
		}
		answered = true
		if said("status") != string(metav1.ConditionFalse) {
			continue
		}
		words = append(words, strings.Join(strings.Fields(fmt.Sprintf("%s: %s", said("reason"), said("message"))), " "))
		answer.Failing = answer.Failing || failures.MatchString(said("message"))
	}
	slices.Sort(words)
	answer.Words = strings.Join(words, "; ")
	return answer, answered
}
