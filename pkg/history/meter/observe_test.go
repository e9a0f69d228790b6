package meter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	schedulingv1alpha1 "sigs.k8s.io/scheduler-plugins/apis/scheduling/v1alpha1"

	"retinue.dev/retinue/pkg/history/store"
	"retinue.dev/retinue/pkg/spark"
)

// start is a whole second, as all times of the API are.
var start = time.Date(2026, 11, 29, 9, 30, 0, 0, time.UTC)

func after(seconds int) metav1.Time {
	return metav1.NewTime(start.Add(time.Duration(seconds) * time.Second))
}

// seconds from start to a time in ms.
func seconds(at int64) int { return int(at-start.UnixMilli()) / 1000 }

func condition(kind v1.PodConditionType, status v1.ConditionStatus, reason, message string, at int) v1.PodCondition {
	return v1.PodCondition{Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: after(at)}
}

// executor of application spark-1 that was bound after ten seconds and runs.
func executor(change func(*v1.Pod)) *v1.Pod {
	controller := true
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "etl", Name: "exec-1", UID: "uid-1", Generation: 1, CreationTimestamp: after(0),
			Labels:          map[string]string{spark.LabelRole: spark.RoleExecutor, spark.LabelApp: "spark-1", spark.LabelAppName: "daily"},
			OwnerReferences: []metav1.OwnerReference{{Kind: "Pod", Name: "driver", UID: "uid-driver", Controller: &controller}},
		},
		Spec: v1.PodSpec{NodeName: "node", ServiceAccountName: "spark", Containers: []v1.Container{{Name: "executor", Resources: v1.ResourceRequirements{
			Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("1500m"), v1.ResourceMemory: resource.MustParse("1073741825"), "nvidia.com/gpu": resource.MustParse("2")},
		}}}},
		Status: v1.PodStatus{Phase: v1.PodRunning, Conditions: []v1.PodCondition{condition(v1.PodScheduled, v1.ConditionTrue, "", "", 10)}},
	}
	change(pod)
	return pod
}

func terminated(reason string, code int32, at int) v1.ContainerStatus {
	return v1.ContainerStatus{State: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{Reason: reason, ExitCode: code, FinishedAt: after(at)}}}
}

func TestTimesAreTakenFromTheBestEvidence(t *testing.T) {
	deletion := after(70)
	for name, test := range map[string]struct {
		change          func(*v1.Pod)
		gone            bool
		lost            int // seconds after start; 0 means that the node answers
		start, end      int
		startRank, rank int
		reason          string
	}{
		"it runs since it was bound": {change: func(*v1.Pod) {}, start: 10, startRank: store.StartScheduled},
		"since the kubelet took it":  {change: func(p *v1.Pod) { p.Status.Conditions = nil; at := after(12); p.Status.StartTime = &at }, start: 12, startRank: store.StartAccepted},
		"since it was seen":          {change: func(p *v1.Pod) { p.Status.Conditions = nil }, start: 100, startRank: store.StartObserved},
		"until its last container": {change: func(p *v1.Pod) {
			p.Status.Phase = v1.PodFailed
			p.Status.InitContainerStatuses = []v1.ContainerStatus{terminated("Completed", 0, 20)}
			p.Status.ContainerStatuses = []v1.ContainerStatus{terminated("OOMKilled", 137, 60), {}}
		}, gone: true, start: 10, startRank: store.StartScheduled, end: 60, rank: store.EndContainers, reason: "OOMKilled"},
		"evicted before it started": {change: func(p *v1.Pod) {
			p.Status.Phase, p.Status.Reason = v1.PodFailed, "Evicted"
			p.Status.Conditions = append(p.Status.Conditions, condition(v1.DisruptionTarget, v1.ConditionTrue, "TerminationByKubelet", "", 40))
		}, start: 10, startRank: store.StartScheduled, end: 40, rank: store.EndTerminal, reason: "Evicted"},
		"ended, and nothing says when": {change: func(p *v1.Pod) { p.Status.Phase = v1.PodSucceeded }, start: 10, startRank: store.StartScheduled, end: 100, rank: store.EndTerminal, reason: "Succeeded"},
		"deleted as it ran":            {change: func(*v1.Pod) {}, gone: true, start: 10, startRank: store.StartScheduled, end: 100, rank: store.EndDeleted, reason: "Deleted"},
		"deleted, and asked to before": {change: func(p *v1.Pod) { p.DeletionTimestamp = &deletion }, gone: true, start: 10, startRank: store.StartScheduled, end: 70, rank: store.EndDeleted, reason: "Deleted"},
		"it is being deleted":          {change: func(p *v1.Pod) { p.DeletionTimestamp = &deletion }, start: 10, startRank: store.StartScheduled},
		"nobody pays for a dead node":  {change: func(*v1.Pod) {}, gone: true, lost: 50, start: 10, startRank: store.StartScheduled, end: 50, rank: store.EndNodeLost, reason: "Deleted"},
		"the node died afterwards":     {change: func(p *v1.Pod) { p.DeletionTimestamp = &deletion }, gone: true, lost: 80, start: 10, startRank: store.StartScheduled, end: 70, rank: store.EndDeleted, reason: "Deleted"},
		"a clock that is ahead": {change: func(p *v1.Pod) {
			p.Status.Phase = v1.PodSucceeded
			p.Status.ContainerStatuses = []v1.ContainerStatus{terminated("Completed", 0, 5000)}
		}, start: 10, startRank: store.StartScheduled, end: 100, rank: store.EndContainers, reason: "Succeeded"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sight{pod: executor(test.change), at: after(100).UnixMilli(), gone: test.gone}
			if test.lost > 0 {
				s.lost = after(test.lost).UnixMilli()
			}
			span, bound := s.span()
			require.True(t, bound)
			slim, err := Slim(s.pod)
			require.NoError(t, err)
			again := s
			again.pod = slim.(*v1.Pod)
			same, _ := again.span()
			require.Equal(t, span, same, "Slim takes nothing that is looked at")
			require.Equal(t, store.Evidence{At: after(test.start).UnixMilli(), Rank: test.startRank}, span.Start)
			require.Equal(t, test.rank, span.End.Rank)
			if test.rank == 0 {
				require.Equal(t, s.at, span.Alive)
				return
			}
			require.Equal(t, test.end, seconds(span.End.At))
			require.Equal(t, test.reason, span.End.Reason)
			require.Zero(t, span.Alive, "what has ended was not seen alive")
		})
	}
}

func TestWhatAPodHoldsIsWhatTheSchedulerCounts(t *testing.T) {
	pod := executor(func(p *v1.Pod) {
		always := v1.ContainerRestartPolicyAlways
		p.Spec.InitContainers = []v1.Container{{Name: "sidecar", RestartPolicy: &always, Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("500m")}}}}
		p.Spec.Overhead = v1.ResourceList{v1.ResourceCPU: resource.MustParse("250m"), "hugepages-2Mi": resource.MustParse("4Mi")}
	})
	span, _ := sight{pod: pod}.span()
	same, _ := sight{pod: slimPod(pod)}.span()
	require.Equal(t, span, same)
	require.Equal(t, []store.Amount{{Resource: "cpu", Value: 2250}, {Resource: "hugepages-2Mi", Value: 4}, {Resource: "memory", Value: 1025}, {Resource: "nvidia.com/gpu", Value: 2}}, span.Segments[0].Amounts)
	hostile, _ := sight{pod: executor(func(p *v1.Pod) {
		p.Spec.Containers[0].Resources.Requests[v1.ResourceCPU] = resource.MustParse("9223372036854775807")
		p.Spec.Containers[0].Resources.Requests[v1.ResourceMemory] = resource.MustParse("9223372036854775807")
	})}.span()
	for _, amount := range hostile.Segments[0].Amounts {
		require.LessOrEqual(t, amount.Value, int64(store.MaxValue))
	}
}

func TestAPodSaysWhoseItIs(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*v1.Pod)
		want   store.Identity
	}{
		"nobody says":        {func(*v1.Pod) {}, store.Identity{User: "system:serviceaccount:etl:spark", Source: store.SourceServiceAccount}},
		"no service account": {func(p *v1.Pod) { p.Spec.ServiceAccountName = "" }, store.Identity{User: "system:serviceaccount:etl:default", Source: store.SourceServiceAccount}},
		"Spark":              {func(p *v1.Pod) { p.Spec.Containers[0].Env = []v1.EnvVar{{Name: "SPARK_USER", Value: "spark"}} }, store.Identity{User: "spark", Source: store.SourceEnvironment}},
		"a label":            {func(p *v1.Pod) { p.Labels[spark.LabelUser] = "ann" }, store.Identity{User: "ann", Source: store.SourceLabel}},
		"an annotation":      {func(p *v1.Pod) { p.Annotations = map[string]string{spark.LabelUser: "ann@example.org"} }, store.Identity{User: "ann@example.org", Source: store.SourceLabel}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, identityOf(executor(test.change)))
			require.Equal(t, test.want, identityOf(slimPod(executor(test.change))))
		})
	}
}

func TestAPodSaysWhatItIsAPartOf(t *testing.T) {
	driver := func(p *v1.Pod) {
		controller := true
		p.Name, p.Labels[spark.LabelRole] = "driver", spark.RoleDriver
		p.OwnerReferences = []metav1.OwnerReference{{Kind: "SparkApplication", Name: "nightly", UID: "uid-app", Controller: &controller}}
	}
	for name, test := range map[string]struct {
		change                   func(*v1.Pod)
		key, kind, called, owner string
		rank                     int
		result                   string
	}{
		"an executor":     {func(*v1.Pod) {}, "etl/spark-1", "Spark", "daily", "Pod/driver", store.OfWorker, ""},
		"a driver":        {driver, "etl/spark-1", "Spark", "daily", "SparkApplication/nightly", store.OfLeader, ""},
		"one that failed": {func(p *v1.Pod) { driver(p); p.Status.Phase = v1.PodFailed }, "etl/spark-1", "Spark", "daily", "SparkApplication/nightly", store.OfLeader, "Failed"},
		"a PodGroup":      {func(p *v1.Pod) { p.Labels = map[string]string{schedulingv1alpha1.PodGroupLabel: "training"} }, "etl/training", "PodGroup", "training", "Pod/driver", store.OfWorker, ""},
		"a gang":          {func(p *v1.Pod) { p.Labels = map[string]string{spark.LabelGang: "ray"} }, "etl/ray", "Gang", "ray", "Pod/driver", store.OfWorker, ""},
		"owned": {func(p *v1.Pod) {
			p.Labels = nil
			p.OwnerReferences[0].Kind, p.OwnerReferences[0].Name = "Job", "nightly"
		}, "etl/uid-driver", "Job", "nightly", "Job/nightly", store.OfWorker, ""},
		"alone": {func(p *v1.Pod) { p.Labels, p.OwnerReferences = nil, nil }, "etl/uid-1", "Pod", "exec-1", "", store.OfWorker, ""},
	} {
		t.Run(name, func(t *testing.T) {
			application := sight{pod: executor(test.change), at: after(100).UnixMilli()}.application()
			require.Equal(t, application, sight{pod: slimPod(executor(test.change)), at: after(100).UnixMilli()}.application())
			require.Equal(t, test.key, application.Key)
			require.Equal(t, []string{test.kind, test.called, test.owner, test.result}, []string{application.Kind, application.Name, application.Owner, application.End.Reason})
			require.Equal(t, test.rank, application.Rank)
			require.Equal(t, after(10).UnixMilli(), application.Bound)
		})
	}
}

func TestAPodSaysWhyItWaits(t *testing.T) {
	for message, want := range map[string]store.Wait{
		"0/20 nodes are available: Fragmented: 0 of 10 executors fit": {Reason: "Fragmented", Message: "Fragmented: 0 of 10 executors fit"},
		"QueueLimit: cpu 3 more than etl may":                         {Reason: "QueueLimit", Message: "QueueLimit: cpu 3 more than etl may"},
		"ClusterFull: 0/3 nodes are available: 3 Insufficient cpu.":   {Reason: "ClusterFull", Message: "ClusterFull: 0/3 nodes are available: 3 Insufficient cpu."},
		"0/3 nodes are available: 3 Insufficient cpu.":                {Reason: "Unschedulable", Message: "0/3 nodes are available: 3 Insufficient cpu."},
	} {
		waits := func(p *v1.Pod) {
			p.Spec.NodeName = ""
			p.Status.Conditions = []v1.PodCondition{condition(v1.PodScheduled, v1.ConditionFalse, "Unschedulable", message, 5)}
		}
		wait, ok := sight{pod: executor(waits)}.wait()
		require.True(t, ok)
		require.Equal(t, want, wait)
		_, ok = sight{pod: executor(waits), gone: true}.wait()
		require.False(t, ok)
	}
	_, ok := sight{pod: executor(func(*v1.Pod) {})}.wait()
	require.False(t, ok)
}

func TestOnlyPodsThatWereTakenAwayAreLost(t *testing.T) {
	for reason, want := range map[string]bool{"PreemptionByScheduler": true, "EvictionByEvictionAPI": true, "DeletionByTaintManager": false, "TerminationByKubelet": false} {
		require.Equal(t, want, lost(executor(func(p *v1.Pod) {
			p.Status.Conditions = append(p.Status.Conditions, condition(v1.DisruptionTarget, v1.ConditionTrue, reason, "", 40))
		})), reason)
	}
}
