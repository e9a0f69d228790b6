package plugin

import (
	"errors"

	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/gang"
)

// statusOf is what the framework is told of a verdict.
func (p *Plugin) statusOf(verdict gang.Verdict) *fwk.Status { return StatusOf(verdict, p.names()) }

// names tells whether what is written on a pod may name pods, users and queues of others.
func (p *Plugin) names() bool { return p.args.Tell == v1alpha1.TellNames }

// StatusOf turns a verdict into the framework's words; the only place that does. A verdict that passes is nil, which
// the framework takes for success. names tells whether others are named.
func StatusOf(verdict gang.Verdict, names bool) *fwk.Status {
	code := fwk.Unschedulable
	switch {
	case verdict.Passes():
		return nil
	case verdict.Permanent():
		code = fwk.UnschedulableAndUnresolvable
	}
	return fwk.NewStatus(code).WithError(refusal{verdict, names})
}

// refusal carries a verdict with its numbers through the framework, which passes on nothing but errors and texts.
type refusal struct {
	verdict gang.Verdict
	names   bool
}

// Error is the sentence with its reason.
func (r refusal) Error() string { return r.verdict.Say(r.names) }

// VerdictIn is the verdict with which the plugin has refused a pod; the zero Verdict if it has not.
func VerdictIn(status *fwk.Status) gang.Verdict {
	var refused refusal
	if errors.As(status.AsError(), &refused) {
		return refused.verdict
	}
	return gang.Verdict{}
}
