package plugin

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/spark"
)

// Every step of a gang's life is one line of the log, at the level with which Retinue is installed, V(2), that has the key "gang" with the same
// value: the leader's namespace and name, or of a gang without a leader those of its group. What one of many pods is told is for V(4).

// keysOf are the keys by which the log finds a pod: its gang, and itself unless it leads that.
func keysOf(l *ledger.Ledger, pod *v1.Pod) (keys []any, first bool) {
	if spark.Leads(pod) {
		return []any{"gang", klog.KObj(pod)}, true
	}
	if called, first, known := ledger.Called(l, pod.UID); known {
		return []any{"gang", klog.KRef(called.Namespace, called.Name), "pod", klog.KObj(pod)}, first
	}
	return []any{"pod", klog.KObj(pod)}, false
}

// logFate logs a step in the life of the gang of a pod.
func logFate(p *Plugin, pod *v1.Pod, step string, more ...any) {
	if logger := p.logger.WithCallDepth(1).V(2); logger.Enabled() {
		keys, _ := keysOf(p.ledger, pod)
		logger.Info(step, append(keys, more...)...)
	}
}

// logTold logs what a pod is told: of a gang what its leader is, or the pod that is tried for all.
func logTold(p *Plugin, pod *v1.Pod, verdict gang.Verdict) {
	if !p.logger.V(2).Enabled() {
		return
	}
	keys, first := keysOf(p.ledger, pod)
	logger, step := p.logger.V(4), "Pod waits"
	if first {
		logger, step = p.logger.V(2), "Gang waits"
	} else if verdict.Say(true) != verdict.Say(p.names()) { // those who run the cluster read whom it is about
		logger = p.logger.V(2)
	}
	if !verdict.Reason.Trait().Waits {
		step = "Gang changed"
	}
	keys = append(keys, "reason", verdict.Reason)
	if text := verdict.Text(true); !quotes(verdict.Reason) && text != "" {
		keys = append(keys, "verdict", text)
	}
	logger.Info(step, keys...)
}

// quotes tells whether what users are told for a reason repeats what they wrote, which is for nobody else.
func quotes(reason gang.Reason) bool { return reason == gang.InvalidGang || reason == gang.GangGuessed }

// logEnded logs that a leader has gone, and how it was seen last.
func logEnded(p *Plugin, pod *v1.Pod) {
	if spark.Leads(pod) && pod.Spec.SchedulerName == p.handle.ProfileName() {
		logFate(p, pod, "Gang ended", "phase", pod.Status.Phase)
	}
}
