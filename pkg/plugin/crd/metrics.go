package crd

import "retinue.dev/retinue/pkg/plugin/metric"

var unknown = metric.NewGaugeVec("unknown_kinds",
	"1 for a kind that could not be listed when the scheduler started, so that pods are scheduled as if there were no objects of it; 0 when it is known what there is.",
	"kind")

// Unlisted reports whether the scheduler works as if there were no objects of a kind, because they could not be listed.
func Unlisted(kind string, unlisted bool) {
	value := 0.0
	if unlisted {
		value = 1
	}
	unknown.WithLabelValues(kind).Set(value)
}
