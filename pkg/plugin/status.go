package plugin

import (
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/gang"
)

// statusOf turns a verdict into the framework's words; the only place that does. A verdict that passes is nil, which
// the framework takes for success.
func (p *Plugin) statusOf(verdict gang.Verdict) *fwk.Status { return statusOf(verdict, p.names()) }

// names tells whether what is written on a pod may name pods, users and queues of others.
func (p *Plugin) names() bool { return p.args.Tell == v1alpha1.TellNames }

func statusOf(verdict gang.Verdict, names bool) *fwk.Status {
	switch {
	case verdict.Passes():
		return nil
	case verdict.Permanent():
		return fwk.NewStatus(fwk.UnschedulableAndUnresolvable, verdict.Say(names))
	default:
		return fwk.NewStatus(fwk.Unschedulable, verdict.Say(names))
	}
}
