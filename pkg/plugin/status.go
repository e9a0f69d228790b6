package plugin

import (
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
)

// statusOf turns a verdict into the framework's words; the only place that does. A verdict that passes is nil, which
// the framework takes for success.
func statusOf(verdict gang.Verdict) *fwk.Status {
	switch {
	case verdict.Passes():
		return nil
	case verdict.Permanent():
		return fwk.NewStatus(fwk.UnschedulableAndUnresolvable, verdict.String())
	default:
		return fwk.NewStatus(fwk.Unschedulable, verdict.String())
	}
}
