// The dashboards, apart from everything else: nothing of Grafana's is compiled into what is installed.
module retinue.dev/retinue/test/monitoring/dashboards

go 1.26.0

require github.com/grafana/grafana-foundation-sdk/go v0.0.22
