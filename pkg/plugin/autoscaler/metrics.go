package autoscaler

import "retinue.dev/retinue/pkg/plugin/metric"

var (
	modes    = metric.NewGaugeVec("scale_up_mode", "1 for the way in which an autoscaler is asked for nodes, 0 for every other.", "mode")
	requests = metric.NewGauge("scale_up_requests", "Gangs for which the autoscaler is asked for nodes.")
)
