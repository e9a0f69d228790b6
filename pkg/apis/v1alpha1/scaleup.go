package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ScaleUpMode is in what words an autoscaler is asked for nodes.
type ScaleUpMode string

const (
	// ScaleUpAuto is CapacityBuffer where the cluster has the kind and something answers, else Off.
	ScaleUpAuto ScaleUpMode = "Auto"
	// ScaleUpCapacityBuffer makes CapacityBuffers (autoscaling.x-k8s.io), one for every kind of pod that is missing.
	ScaleUpCapacityBuffer ScaleUpMode = "CapacityBuffer"
	// ScaleUpOff asks nobody: the cluster has the nodes that it has.
	ScaleUpOff ScaleUpMode = "Off"
)

// MaxScaleUpGangs bounds for how many gangs nodes are asked for at a time: each is looked at every second.
const MaxScaleUpGangs = 1000

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
	one, ten := 1, 10
	if s.GangsPerQueue == nil {
		s.GangsPerQueue = &one
	}
	if s.Gangs == nil {
		s.Gangs = &ten
	}
}

func (s *ScaleUp) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch s.Mode {
	case ScaleUpAuto, ScaleUpCapacityBuffer, ScaleUpOff:
	default:
		errs = append(errs, field.NotSupported(path.Child("mode"), s.Mode, []ScaleUpMode{ScaleUpAuto, ScaleUpCapacityBuffer, ScaleUpOff}))
	}
	if s.After.Duration < 0 {
		errs = append(errs, field.Invalid(path.Child("after"), s.After.Duration.String(), "must not be negative"))
	}
	if s.Timeout.Duration <= 0 {
		errs = append(errs, field.Invalid(path.Child("timeout"), s.Timeout.Duration.String(), "must be greater than zero"))
	}
	for _, count := range []struct {
		name  string
		value int
	}{{"gangsPerQueue", *s.GangsPerQueue}, {"gangs", *s.Gangs}} {
		if count.value < 1 || count.value > MaxScaleUpGangs {
			errs = append(errs, field.Invalid(path.Child(count.name), count.value, "must be between 1 and 1000"))
		}
	}
	return errs
}
