// Package monitoring is the alerts and dashboards of manifests/components/monitoring, tried with Prometheus.
package monitoring
