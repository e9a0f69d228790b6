package main

import (
	"context"
	"errors"
	"time"
	"unicode/utf8"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	podutil "k8s.io/kubernetes/pkg/api/v1/pod"
	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/util"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/plugin"
)

// longestNote is how long the note of an event may be, in bytes.
const longestNote = 1024

// tellInOwnWords makes kube-scheduler's failure handler say what the plugin says of a pod that was tried: the condition and the event
// begin with the reason, and the condition says Unschedulable only where nodes would help. It would say so of every pod that a plugin
// has refused, and autoscalers would buy nodes for gangs that wait for their queue. A plugin is asked about no pod while there are no
// nodes, and hears of it here.
func tellInOwnWords(sched *scheduler.Scheduler, teller teller) {
	handle := sched.FailureHandler
	sched.FailureHandler = func(
		ctx context.Context, profile framework.Framework, pod *framework.QueuedPodInfo, status *fwk.Status, nominating *fwk.NominatingInfo, start time.Time,
	) {
		reason, text := verdictIn(status)
		if errors.Is(status.AsError(), scheduler.ErrNoNodesAvailable) {
			reason, text = teller.NoNodes(pod.Pod)
		}
		if condition := teller.Condition(pod.Pod, reason); reason != "" || condition != v1.PodReasonUnschedulable {
			profile = profileInOwnWords{Framework: profile, ctx: ctx, condition: condition, text: text}
		}
		handle(ctx, profile, pod, status, nominating, start)
	}
}

// teller is the plugin.
type teller interface {
	Condition(*v1.Pod, gang.Reason) string
	NoNodes(*v1.Pod) (gang.Reason, string)
}

// verdictIn is what the plugin has said when it refused a pod for all nodes or for the chosen one; the reason is empty when the pod has
// failed for anything else.
func verdictIn(status *fwk.Status) (gang.Reason, string) {
	text := ""
	var unfit *framework.FitError
	switch {
	case !errors.As(status.AsError(), &unfit):
		if status.IsRejected() && status.Plugin() == plugin.Name {
			text = status.Message()
		}
	case unfit.Diagnosis.PreFilterMsg != "":
		text = unfit.Diagnosis.PreFilterMsg
	case unfit.NumAllNodes == 1 && unfit.Diagnosis.NodeToStatus != nil: // by Reserve or Permit, of the node that was chosen
		unfit.Diagnosis.NodeToStatus.ForEachExplicitNode(func(_ string, refusal *fwk.Status) {
			if refusal.Plugin() == plugin.Name {
				text = refusal.Message()
			}
		})
	}
	if reason, known := gang.ReasonOf(text); known {
		return reason, text
	}
	return "", ""
}

// profileInOwnWords is a profile as the failure handler sees it for one pod.
type profileInOwnWords struct {
	framework.Framework
	ctx context.Context
	// condition is the reason of the condition, instead of Unschedulable.
	condition string
	// text is what is said; empty means kube-scheduler's own words.
	text string
}

// EventRecorder gives the event its text.
func (p profileInOwnWords) EventRecorder() events.EventRecorderLogger {
	if p.text == "" {
		return p.Framework.EventRecorder()
	}
	return recorderInOwnWords{p.Framework.EventRecorder(), p.text}
}

// APICacher gives the condition its reason and text. It is there whether or not calls to the API server are asynchronous.
func (p profileInOwnWords) APICacher() fwk.APICacher {
	return cacherInOwnWords{APICacher: p.Framework.APICacher(), profile: p}
}

type recorderInOwnWords struct {
	events.EventRecorderLogger
	text string
}

// WithLogger keeps the text.
func (r recorderInOwnWords) WithLogger(logger klog.Logger) events.EventRecorderLogger {
	return recorderInOwnWords{r.EventRecorderLogger.WithLogger(logger), r.text}
}

// Eventf says the text instead of the note.
func (r recorderInOwnWords) Eventf(regarding, related runtime.Object, kind, reason, action, _ string, _ ...any) {
	text := r.text
	if len(text) > longestNote {
		end := longestNote
		for !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end]
	}
	r.EventRecorderLogger.Eventf(regarding, related, kind, reason, action, "%s", text)
}

type cacherInOwnWords struct {
	fwk.APICacher // nil when calls are not asynchronous
	profile       profileInOwnWords
}

// PatchPodStatus writes the condition PodScheduled with the reason and the text.
func (c cacherInOwnWords) PatchPodStatus(pod *v1.Pod, conditions []*v1.PodCondition, nominating *fwk.NominatingInfo) (<-chan error, error) {
	for _, condition := range conditions {
		if condition.Type != v1.PodScheduled {
			continue
		}
		if c.profile.text != "" {
			condition.Reason, condition.Message = c.profile.condition, c.profile.text
		} else if condition.Reason == v1.PodReasonUnschedulable { // and no error
			condition.Reason = c.profile.condition
		}
	}
	if c.APICacher != nil {
		return c.APICacher.PatchPodStatus(pod, conditions, nominating)
	}
	status := pod.Status.DeepCopy()
	changed := false
	for _, condition := range conditions {
		changed = podutil.UpdatePodCondition(status, condition) || changed
	}
	if nominating.Mode() == fwk.ModeOverride && status.NominatedNodeName != nominating.NominatedNodeName {
		status.NominatedNodeName, changed = nominating.NominatedNodeName, true
	}
	if !changed {
		return nil, nil
	}
	return nil, util.PatchPodStatus(c.profile.ctx, c.profile.ClientSet(), pod.Name, pod.Namespace, &pod.Status, status)
}
