package crd

import (
	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

// unknown is retinue_unknown_kinds.
var unknown = metrics.NewGaugeVec(&metrics.GaugeOpts{
	Subsystem:      "retinue",
	Name:           "unknown_kinds",
	Help:           "1 for a kind that could not be listed when the scheduler started, so that pods are scheduled as if there were no objects of it; 0 when it is known what there is.",
	StabilityLevel: metrics.ALPHA,
}, []string{"kind"})

func init() { legacyregistry.MustRegister(unknown) }

// Unlisted reports whether the scheduler works as if there were no objects of a kind, because they could not be listed.
func Unlisted(kind string, unlisted bool) {
	value := 0.0
	if unlisted {
		value = 1
	}
	unknown.WithLabelValues(kind).Set(value)
}
