package main

import (
	"sync"
	"time"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

// meterMetrics tell how the meter itself does.
type meterMetrics struct {
	lag, pending, heartbeat, missing *metrics.Gauge
	errors                           *metrics.CounterVec
}

// newMetrics are those of the process.
var newMetrics = sync.OnceValue(func() *meterMetrics {
	gauge := func(name, help string) *metrics.Gauge {
		g := metrics.NewGauge(&metrics.GaugeOpts{Namespace: "retinue", Subsystem: "meter", Name: name, Help: help, StabilityLevel: metrics.ALPHA})
		legacyregistry.MustRegister(g)
		return g
	}
	m := &meterMetrics{
		lag:       gauge("write_lag_seconds", "For how long the oldest observation has been waiting to be written."),
		pending:   gauge("pending_pods", "Pods and nodes whose last observation is not written yet."),
		heartbeat: gauge("heartbeat_timestamp_seconds", "Until when everything that was alive has been seen and written."),
		missing:   gauge("missing_pods", "Pods, nodes and waiting applications that are open in the database and not found in the cluster."),
		errors: metrics.NewCounterVec(&metrics.CounterOpts{Namespace: "retinue", Subsystem: "meter", Name: "errors_total",
			Help: "What failed, by step.", StabilityLevel: metrics.ALPHA}, []string{"step"}),
	}
	legacyregistry.MustRegister(m.errors)
	return m
})

func (m *meterMetrics) behind(lag time.Duration, pending int) {
	m.lag.Set(lag.Seconds())
	m.pending.Set(float64(pending))
}
