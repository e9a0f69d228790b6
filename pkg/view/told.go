package view

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/gang"
)

// maxNumbers is how many resources are shown of those that an annotation names.
const maxNumbers = 4

// Told is what the annotation gang.AnnotationStatus says of a wait besides the condition. Whoever may patch the pod can write it: it is shown
// as what the pod says, and no advice rests on it.
type Told struct {
	// Numbers of what is short, the one that binds first.
	Numbers []gang.Number `json:"numbers,omitempty"`
	// Nodes that were looked at; absent where it is not about nodes.
	Nodes *int `json:"nodes,omitempty"`
	// Since when the pod has waited for this reason, as the scheduler that runs knows it.
	Since *metav1.Time `json:"since,omitempty"`
}

// toldOf is what a pod's annotation says of the reason and the message of its condition; nil where it says nothing of them. kube-scheduler's
// words have no reason of the table: then it is the annotation that names one.
func toldOf(pod *v1.Pod, reason gang.Reason, message string) (gang.Reason, *Told) {
	status, err := gang.DecodeStatus(pod.Annotations[gang.AnnotationStatus])
	switch {
	case err != nil:
		return reason, nil
	case reason == "" && message != "" && Clean(status.Sentence) == message && status.Reason.Trait().Waits:
		reason = status.Reason
	case reason == "" || status.Reason != reason:
		return reason, nil
	}
	told := &Told{Nodes: status.Nodes}
	if status.Since != nil {
		since := metav1.NewTime(*status.Since)
		told.Since = &since
	}
	for _, n := range status.Numbers[:min(len(status.Numbers), maxNumbers)] {
		told.Numbers = append(told.Numbers, gang.Number{
			Resource: Clean(n.Resource), Need: Clean(n.Need), Used: Clean(n.Used), Limit: Clean(n.Limit), Free: Clean(n.Free), Short: Clean(n.Short),
		})
	}
	return reason, told
}

// texts are what it says, a line for each resource.
func (t *Told) texts() []string {
	if t == nil {
		return nil
	}
	var texts []string
	for _, n := range t.Numbers {
		text := fmt.Sprintf("%s: %s asked for", n.Resource, n.Need)
		switch {
		case n.Limit != "" && n.Used != "":
			text += fmt.Sprintf(", %s of %s used", n.Used, n.Limit)
		case n.Limit != "":
			text += fmt.Sprintf(", %s allowed at all", n.Limit)
		case n.Free != "":
			text += fmt.Sprintf(", %s free", n.Free)
		}
		if n.Short != "" {
			text += ", " + n.Short + " short"
		}
		texts = append(texts, text)
	}
	var rest []string
	if t.Nodes != nil {
		rest = append(rest, gang.Counted(*t.Nodes, "node")+" looked at")
	}
	if t.Since != nil {
		rest = append(rest, "since "+t.Since.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	if len(rest) > 0 {
		texts = append(texts, strings.Join(rest, ", "))
	}
	return texts
}
