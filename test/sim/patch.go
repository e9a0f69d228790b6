package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

// patchText is every field that a scheduler may patch. Others are refused loudly, so that none is lost in silence.
type patchText struct {
	Metadata *struct {
		UID             types.UID         `json:"uid"`
		ResourceVersion string            `json:"resourceVersion"`
		Annotations     map[string]string `json:"annotations"`
	} `json:"metadata"`
	Status *struct {
		Conditions        []v1.PodCondition `json:"conditions"`
		NominatedNodeName *string           `json:"nominatedNodeName"`
	} `json:"status"`
}

// patch is a strategic merge patch of a pod or its status.
func (a *api) patch(key string, data []byte) error {
	var patch patchText
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&patch); err != nil {
		panic(fmt.Sprintf("sim: a patch that the simulated API server does not know: %s: %v", data, err))
	}
	pod, found := a.pods.get(key)
	if !found {
		return notFound("pods", key)
	}
	if patch.Metadata != nil && patch.Metadata.UID != "" && patch.Metadata.UID != pod.UID {
		return conflict("pods", key, "the UID in the precondition is another one")
	}
	if patch.Metadata != nil && patch.Metadata.ResourceVersion != "" && patch.Metadata.ResourceVersion != pod.ResourceVersion {
		return conflict("pods", key, "the object has been modified")
	}
	if patch.Metadata != nil {
		merged := maps.Clone(pod.Annotations)
		if merged == nil {
			merged = map[string]string{}
		}
		maps.Copy(merged, patch.Metadata.Annotations)
		if annotationBytes(merged) > maxAnnotations {
			return apierrors.NewInvalid(v1.SchemeGroupVersion.WithKind("Pod").GroupKind(), key, nil)
		}
	}
	a.changePod(pod, func(pod *v1.Pod) {
		if patch.Metadata != nil && patch.Metadata.Annotations != nil {
			pod.Annotations = maps.Clone(pod.Annotations)
			if pod.Annotations == nil {
				pod.Annotations = map[string]string{}
			}
			maps.Copy(pod.Annotations, patch.Metadata.Annotations)
		}
		if patch.Status != nil {
			for _, condition := range patch.Status.Conditions {
				pod.Status.Conditions = withCondition(pod.Status.Conditions, condition)
			}
			if patch.Status.NominatedNodeName != nil {
				pod.Status.NominatedNodeName = *patch.Status.NominatedNodeName
			}
		}
	})
	return nil
}

func withCondition(conditions []v1.PodCondition, condition v1.PodCondition) []v1.PodCondition {
	conditions = slices.Clone(conditions)
	for i := range conditions {
		if conditions[i].Type == condition.Type {
			conditions[i] = condition
			return conditions
		}
	}
	return append(conditions, condition)
}

func condition(pod *v1.Pod, kind v1.PodConditionType) v1.PodCondition {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return v1.PodCondition{Type: kind}
}
