package autoscaler

import (
	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

var (
	// modes is retinue_scale_up_mode.
	modes = metrics.NewGaugeVec(&metrics.GaugeOpts{
		Subsystem: "retinue", Name: "scale_up_mode", Help: "1 for the way in which an autoscaler is asked for nodes, 0 for every other.", StabilityLevel: metrics.ALPHA,
	}, []string{"mode"})
	// requests is retinue_scale_up_requests.
	requests = metrics.NewGauge(&metrics.GaugeOpts{
		Subsystem: "retinue", Name: "scale_up_requests", Help: "Gangs for which the autoscaler is asked for nodes.", StabilityLevel: metrics.ALPHA,
	})
)

func init() { legacyregistry.MustRegister(modes, requests) }
