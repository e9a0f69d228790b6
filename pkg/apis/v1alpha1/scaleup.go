package v1alpha1

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ScaleUpMode is in what words an autoscaler is asked for nodes.
type ScaleUpMode string

const (
	// ScaleUpAuto is CapacityBuffer where the cluster has the kind and something answers, else Placeholders where there is an autoscaler, else Off.
	ScaleUpAuto ScaleUpMode = "Auto"
	// ScaleUpCapacityBuffer makes CapacityBuffers (autoscaling.x-k8s.io), one for every kind of pod that is missing.
	ScaleUpCapacityBuffer ScaleUpMode = "CapacityBuffer"
	// ScaleUpPlaceholders makes pods that are never bound, one for every pod that is missing, in a namespace of their own.
	ScaleUpPlaceholders ScaleUpMode = "Placeholders"
	// ScaleUpOff asks nobody: the cluster has the nodes that it has.
	ScaleUpOff ScaleUpMode = "Off"
)

// ScaleUpOrder is what comes first for a gang that could take something back and could have nodes.
type ScaleUpOrder string

const (
	// ReclaimFirst asks for nodes only when nothing is taken back for it.
	ReclaimFirst ScaleUpOrder = "ReclaimFirst"
	// ScaleUpFirst takes something back only when the autoscaler has refused.
	ScaleUpFirst ScaleUpOrder = "ScaleUpFirst"
)

const (
	// MaxScaleUpGangs bounds for how many gangs nodes are asked for at a time: each is looked at every second.
	MaxScaleUpGangs = 1000
	// MaxPlaceholders bounds how many pods stand for others at a time: the API server and the autoscaler carry each of them.
	MaxPlaceholders = 20_000
)

// ScaleUp is how an autoscaler is asked for nodes.
// +kubebuilder:object:generate=false
type ScaleUp struct {
	// Mode is in what words. Default Auto.
	Mode ScaleUpMode `json:"mode,omitempty"`
	// After is how long a gang waits that could start when others have ended, before nodes are asked for. A gang that does not fit the nodes
	// as they are even if everybody had ended does not wait. Default 10s.
	After *metav1.Duration `json:"after,omitempty"`
	// Timeout is after how long a request is taken back that nothing has come of. Default 10m.
	Timeout *metav1.Duration `json:"timeout,omitempty"`
	// GangsPerQueue is for how many gangs of one queue nodes are asked for at a time; of one namespace where that belongs to no queue.
	// Default 1.
	GangsPerQueue *int `json:"gangsPerQueue,omitempty"`
	// Gangs is for how many in all. Default 10.
	Gangs *int `json:"gangs,omitempty"`
	// Order is what comes first for a gang that could take something back. Default ReclaimFirst.
	Order ScaleUpOrder `json:"order,omitempty"`
	// Namespace is where placeholders are made. Default retinue-placeholders.
	Namespace string `json:"namespace,omitempty"`
	// Placeholders is how many of them there are at a time. A gang that needs more is not asked for. Default 2000.
	Placeholders *int `json:"placeholders,omitempty"`
}

func (s *ScaleUp) setDefaults() {
	if s.Mode == "" {
		s.Mode = ScaleUpAuto
	}
	if s.After == nil {
		s.After = &metav1.Duration{Duration: 10 * time.Second}
	}
	if s.Timeout == nil {
		s.Timeout = &metav1.Duration{Duration: 10 * time.Minute}
	}
	if s.Order == "" {
		s.Order = ReclaimFirst
	}
	if s.Namespace == "" {
		s.Namespace = "retinue-placeholders"
	}
	one, ten, many := 1, 10, 2000
	if s.GangsPerQueue == nil {
		s.GangsPerQueue = &one
	}
	if s.Gangs == nil {
		s.Gangs = &ten
	}
	if s.Placeholders == nil {
		s.Placeholders = &many
	}
}

func (s *ScaleUp) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch s.Mode {
	case ScaleUpAuto, ScaleUpCapacityBuffer, ScaleUpPlaceholders, ScaleUpOff:
	default:
		errs = append(errs, field.NotSupported(path.Child("mode"), s.Mode, []ScaleUpMode{ScaleUpAuto, ScaleUpCapacityBuffer, ScaleUpPlaceholders, ScaleUpOff}))
	}
	if s.Order != ReclaimFirst && s.Order != ScaleUpFirst {
		errs = append(errs, field.NotSupported(path.Child("order"), s.Order, []ScaleUpOrder{ReclaimFirst, ScaleUpFirst}))
	}
	if s.After.Duration < 0 {
		errs = append(errs, field.Invalid(path.Child("after"), s.After.Duration.String(), "must not be negative"))
	}
	if s.Timeout.Duration <= 0 {
		errs = append(errs, field.Invalid(path.Child("timeout"), s.Timeout.Duration.String(), "must be greater than zero"))
	}
	for _, count := range []struct {
		name        string
		value, most int
	}{{"gangsPerQueue", *s.GangsPerQueue, MaxScaleUpGangs}, {"gangs", *s.Gangs, MaxScaleUpGangs}, {"placeholders", *s.Placeholders, MaxPlaceholders}} {
		if count.value < 1 || count.value > count.most {
			errs = append(errs, field.Invalid(path.Child(count.name), count.value, fmt.Sprintf("must be between 1 and %d", count.most)))
		}
	}
	for _, problem := range validation.IsDNS1123Label(s.Namespace) {
		errs = append(errs, field.Invalid(path.Child("namespace"), s.Namespace, problem))
	}
	return errs
}
