package autoscaler

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/scaleup"
)

// prefix of the names of all that is made.
const prefix = "retinue-"

// buffer is one that ought to be there, with its template of the same name.
type buffer struct {
	template *v1.PodTemplate
	replicas int
}

// buffersOf are those that say what is wanted. A name says the content: what exists under it is what is wanted.
func buffersOf(wanted ledger.ScaleUp, domainKey string) ([]buffer, error) {
	leader := wanted.Leader
	var buffers []buffer
	for role, pods := range wanted.Pods {
		template := scaleup.Template(leader.UID, pods, wanted.Strategy, domainKey)
		content, err := json.Marshal(template)
		if err != nil {
			return nil, fmt.Errorf("pod template of %s: %w", pods.Name, err)
		}
		hash := fnv.New32a()
		_, _ = fmt.Fprintf(hash, "%d %s", pods.Count, content) // never fails
		buffers = append(buffers, buffer{replicas: pods.Count, template: &v1.PodTemplate{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: leader.Namespace, Name: fmt.Sprintf("%s%s-%d-%08x", prefix, leader.UID, role, hash.Sum32()),
				Labels:          map[string]string{scaleup.Label: string(leader.UID)},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: leader.Name, UID: leader.UID}},
			},
			Template: template,
		}})
	}
	return buffers, nil
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

// reconcile makes what is wanted for a leader and deletes what is not.
func (a *Autoscaler) reconcile(ctx context.Context, leader types.UID) error {
	wanted, wants, there := a.state(leader)
	if wants {
		buffers, err := buffersOf(wanted, a.DomainKey)
		if err != nil {
			return err
		}
		for _, b := range buffers {
			name := types.NamespacedName{Namespace: b.template.Namespace, Name: b.template.Name}
			a.made(leader, name) // or it could not be deleted if it is made and nobody hears of it
			if err := a.create(ctx, b); err != nil {
				return err
			}
			there = slices.DeleteFunc(there, func(other types.NamespacedName) bool { return other == name })
		}
		a.Logger.V(2).Info("Autoscaler asked for nodes", "pod", klog.KObj(wanted.Leader), "buffers", len(buffers), "amount", scaleup.Total(wanted.Pods).String())
	}
	for _, name := range there {
		if err := a.remove(ctx, name); err != nil {
			return err
		}
		a.forget(leader, name)
	}
	return nil
}

// create makes a template and the buffer that names it. It is no error that they are there.
func (a *Autoscaler) create(ctx context.Context, b buffer) error {
	if _, err := a.Client.CoreV1().PodTemplates(b.template.Namespace).Create(ctx, b.template, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create a PodTemplate: %w", err)
	}
	if _, err := a.Dynamic.Resource(Resource).Namespace(b.template.Namespace).Create(ctx, b.object(), metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create a CapacityBuffer: %w", err)
	}
	return nil
}

// remove deletes a buffer and its template. It is no error that they are gone.
func (a *Autoscaler) remove(ctx context.Context, name types.NamespacedName) error {
	if err := a.Dynamic.Resource(Resource).Namespace(name.Namespace).Delete(ctx, name.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete CapacityBuffer %s: %w", name, err)
	}
	if err := a.Client.CoreV1().PodTemplates(name.Namespace).Delete(ctx, name.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete PodTemplate %s: %w", name, err)
	}
	return nil
}

// forget notes that a buffer is gone.
func (a *Autoscaler) forget(leader types.UID, name types.NamespacedName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.there[leader], name)
	if len(a.there[leader]) == 0 {
		delete(a.there, leader)
	}
	if len(a.there) == 0 {
		a.asked = time.Time{} // who was asked for less than silence need not have answered
	}
}

// leaderOf is for whom a buffer was made; false if it is none of Retinue's.
func leaderOf(object *unstructured.Unstructured) (types.UID, bool) {
	leader := object.GetLabels()[scaleup.Label]
	return types.UID(leader), leader != "" && strings.HasPrefix(object.GetName(), prefix+leader+"-")
}

func nameOf(object *unstructured.Unstructured) types.NamespacedName {
	return types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}
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
