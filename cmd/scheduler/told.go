package main

import (
	"cmp"
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

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/plugin"
)

// longestNote is how long the note of an event may be, in bytes.
const longestNote = 1024

// tellInOwnWords makes kube-scheduler's failure handler say what the plugin says of a pod that was tried: the condition and the event
// begin with the reason, and the condition says Unschedulable only where nodes would help. It would say so of every pod that a plugin
// has refused, and autoscalers would buy nodes for gangs that wait for their queue. The same as data is written with the condition, by the
// same call. A plugin is asked about no pod while there are no nodes, and hears of it here.
func tellInOwnWords(sched *scheduler.Scheduler, teller teller) {
	handle := sched.FailureHandler
	sched.FailureHandler = func(
		ctx context.Context, profile framework.Framework, pod *framework.QueuedPodInfo, status *fwk.Status, nominating *fwk.NominatingInfo, start time.Time,
	) {
		verdict := verdictIn(status)
		if errors.Is(status.AsError(), scheduler.ErrNoNodesAvailable) {
			verdict = teller.NoNodes(pod.Pod)
		}
		if status.IsRejected() || !verdict.Passes() {
			if words, has := teller.Words(pod.Pod, verdict, status.Message()); has {
				profile = profileInOwnWords{Framework: profile, ctx: ctx, Words: words, untold: teller.Untold}
			}
		}
		handle(ctx, profile, pod, status, nominating, start)
	}
}

// teller is the plugin.
type teller interface {
	Words(pod *v1.Pod, verdict gang.Verdict, own string) (plugin.Words, bool)
	NoNodes(*v1.Pod) gang.Verdict
	Untold(*v1.Pod)
}

// verdictIn is what the plugin has said when it refused a pod for all nodes or for the chosen one; zero when the pod has failed for
// anything else.
func verdictIn(status *fwk.Status) gang.Verdict {
	var verdict gang.Verdict
	var unfit *framework.FitError
	switch {
	case !errors.As(status.AsError(), &unfit):
		if status.IsRejected() {
			return plugin.VerdictIn(status)
		}
	case unfit.Diagnosis.NodeToStatus == nil:
	case unfit.Diagnosis.PreFilterMsg != "":
		return plugin.VerdictIn(unfit.Diagnosis.NodeToStatus.AbsentNodesStatus())
	case unfit.NumAllNodes == 1: // by Reserve or Permit, of the node that was chosen
		unfit.Diagnosis.NodeToStatus.ForEachExplicitNode(func(_ string, refusal *fwk.Status) {
			verdict = plugin.VerdictIn(refusal)
		})
	}
	return verdict
}

// profileInOwnWords is a profile as the failure handler sees it for one pod.
type profileInOwnWords struct {
	framework.Framework
	plugin.Words
	ctx context.Context
	// untold takes that what was to be said could not be written.
	untold func(*v1.Pod)
}

// EventRecorder gives the event its text.
func (p profileInOwnWords) EventRecorder() events.EventRecorderLogger {
	return recorderInOwnWords{p.Framework.EventRecorder(), p.Words}
}

// APICacher gives the condition its reason and text. It is there whether or not calls to the API server are asynchronous.
func (p profileInOwnWords) APICacher() fwk.APICacher {
	return cacherInOwnWords{APICacher: p.Framework.APICacher(), profile: p}
}

type recorderInOwnWords struct {
	events.EventRecorderLogger
	words plugin.Words
}

// WithLogger keeps the text.
func (r recorderInOwnWords) WithLogger(logger klog.Logger) events.EventRecorderLogger {
	return recorderInOwnWords{r.EventRecorderLogger.WithLogger(logger), r.words}
}

// Eventf says the text instead of the note, if it has to be said.
func (r recorderInOwnWords) Eventf(regarding, related runtime.Object, kind, reason, action, _ string, _ ...any) {
	if !r.words.Event {
		return
	}
	text := r.words.Text
	if len(text) > longestNote {
		end := longestNote
		for !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end]
	}
	r.EventRecorderLogger.Eventf(regarding, related, kind, reason, cmp.Or(r.words.Series, action), "%s", text)
}

type cacherInOwnWords struct {
	fwk.APICacher // nil when calls are not asynchronous
	profile       profileInOwnWords
}

// PatchPodStatus writes the condition PodScheduled with the reason and the text, and with it the annotation.
func (c cacherInOwnWords) PatchPodStatus(pod *v1.Pod, conditions []*v1.PodCondition, nominating *fwk.NominatingInfo) (<-chan error, error) {
	for _, condition := range conditions {
		if condition.Type != v1.PodScheduled {
			continue
		}
		condition.Reason, condition.Message = c.profile.Condition, c.profile.Text
	}
	nominates := nominating.Mode() == fwk.ModeOverride && pod.Status.NominatedNodeName != nominating.NominatedNodeName
	if !c.profile.Patch && !nominates {
		return nil, nil
	}
	if dispatcher := c.profile.Framework.APIDispatcher(); c.APICacher != nil && dispatcher != nil {
		finished := make(chan error, 1)
		err := dispatcher.Add(newPatchCall(pod, c.profile.Status, conditions, nominating), fwk.APICallOptions{OnFinish: finished})
		if !fwk.IsUnexpectedError(err) {
			err = nil
		}
		return finished, err
	}
	status := pod.Status.DeepCopy()
	changed := false
	for _, condition := range conditions {
		changed = podutil.UpdatePodCondition(status, condition) || changed
	}
	if nominates {
		status.NominatedNodeName = nominating.NominatedNodeName
	}
	if !changed && !nominates && !lacksStatus(pod, c.profile.Status) {
		return nil, nil
	}
	err := patch(c.profile.ctx, c.profile.ClientSet(), pod, status, c.profile.Status)
	if err != nil {
		c.profile.untold(pod)
	}
	return nil, err
}
