package chronicle

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/plugin"
	"retinue.dev/retinue/pkg/spark"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// pod is named APPLICATION-driver or APPLICATION-exec-ID and asks for two CPUs.
func pod(name, node string, phase v1.PodPhase, changes ...func(*v1.Pod)) *v1.Pod {
	app, role, _ := strings.Cut(name, "-")
	p := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name), Labels: map[string]string{
			spark.LabelApp: app, spark.LabelAppName: app, spark.LabelRole: spark.RoleDriver,
		}},
		Spec: v1.PodSpec{NodeName: node, Containers: []v1.Container{{Resources: v1.ResourceRequirements{
			Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("2")},
		}}}},
		Status: v1.PodStatus{Phase: phase},
	}
	if role != "driver" {
		p.Labels[spark.LabelRole] = spark.RoleExecutor
		p.OwnerReferences = []metav1.OwnerReference{{Kind: "Pod", UID: types.UID(app + "-driver")}}
	}
	for _, change := range changes {
		change(p)
	}
	return p
}

func refusal(message string) func(*v1.Pod) {
	return func(p *v1.Pod) {
		p.Status.Conditions = []v1.PodCondition{{Type: v1.PodScheduled, Status: v1.ConditionFalse, Reason: v1.PodReasonUnschedulable, Message: message}}
	}
}

func reservation(text string) func(*v1.Pod) {
	return func(p *v1.Pod) { p.Annotations = map[string]string{plugin.AnnotationReservation: text} }
}

func recordOf(pods ...*v1.Pod) *state {
	s := newState()
	s.node(&v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Status: v1.NodeStatus{
		Allocatable: v1.ResourceList{v1.ResourceCPU: resource.MustParse("8"), v1.ResourcePods: resource.MustParse("110")}}})
	for i, p := range pods {
		s.pod(noon.Add(time.Duration(i)*time.Second), p)
	}
	return s
}

func TestAnApplicationIsFollowedFromItsDriverToItsEnd(t *testing.T) {
	s := recordOf(
		pod("a-driver", "", v1.PodPending, refusal("ClusterFull: no room")),
		pod("a-driver", "n", v1.PodPending, reservation(`{"slots":[{"node":"n","count":2},{"node":"m","count":1}]}`)),
		pod("a-driver", "n", v1.PodRunning),
		pod("a-exec-1", "n", v1.PodRunning),
		pod("a-exec-2", "", v1.PodPending),
	)
	require.Equal(t, []Application{{
		ID: "a", Name: "a", Namespace: "default", Driver: "a-driver", Node: "n", Phase: v1.PodRunning, Reason: "ClusterFull: no room", Slots: 3,
		Created: noon, Bound: noon.Add(time.Second), Pending: 1, Running: 1, MostRunning: 1,
	}}, s.list())
	s.pod(noon.Add(time.Minute), pod("a-exec-1", "n", v1.PodSucceeded))
	s.deleted(noon.Add(time.Minute), pod("a-exec-2", "", v1.PodPending))
	s.pod(noon.Add(time.Minute), pod("a-driver", "n", v1.PodSucceeded))
	a := s.list()[0]
	require.Zero(t, a.Pending+a.Running)
	require.Equal(t, 1, a.MostRunning)
	require.Equal(t, noon.Add(time.Minute), a.Ended)
	require.False(t, a.Holding())
	require.Empty(t, a.HalfStarted)
	require.Empty(t, s.overbooked)
}

func TestAGangIsHalfStartedWhenAnExecutorIsRefusedWhileTheDriverHoldsANode(t *testing.T) {
	s := recordOf(pod("a-driver", "n", v1.PodRunning), pod("a-exec-1", "n", v1.PodRunning), pod("a-exec-2", "", v1.PodPending, refusal("0/1 nodes are available")))
	require.Equal(t, "Nov 21 12:00:02.000: driver a-driver holds node n since Nov 21 12:00:00.000 while executor a-exec-2 is refused, 1 of its others run: Unschedulable: 0/1 nodes are available", s.list()[0].HalfStarted)
	s.deleted(noon, pod("a-exec-2", "", v1.PodPending))
	require.NotEmpty(t, s.list()[0].HalfStarted, "what was seen stays seen")
}

func TestAnExecutorRefusedAfterTheDriverHasEndedIsNoHalfStartedGang(t *testing.T) {
	s := recordOf(pod("a-driver", "n", v1.PodRunning), pod("a-driver", "n", v1.PodFailed), pod("a-exec-1", "", v1.PodPending, refusal("LeaderGone")))
	require.Empty(t, s.list()[0].HalfStarted)
}

func TestAnExecutorOfAGangThatIsTakenBackMayBeRefused(t *testing.T) {
	s := recordOf(pod("a-driver", "n", v1.PodRunning), pod("a-exec-1", "", v1.PodPending, refusal("Reclaimed: what its gang holds is being taken back")))
	require.Empty(t, s.list()[0].HalfStarted)
	require.True(t, s.list()[0].TakenBack)
	s.pod(noon, pod("a-exec-2", "", v1.PodPending, refusal("0/1 nodes are available")))
	require.NotEmpty(t, s.list()[0].HalfStarted)
}

func TestAnExecutorMayBeSeenBeforeItsDriver(t *testing.T) {
	s := recordOf(pod("a-exec-1", "", v1.PodPending, refusal("no room")))
	require.Empty(t, s.list())
	s.pod(noon, pod("a-driver", "n", v1.PodRunning))
	require.Len(t, s.list(), 1)
	require.NotEmpty(t, s.list()[0].HalfStarted)
}

func TestANodeIsOverbookedWhenItsPodsAskForMoreThanItHas(t *testing.T) {
	full := []*v1.Pod{pod("a-driver", "n", v1.PodRunning), pod("a-exec-1", "n", v1.PodRunning), pod("a-exec-2", "n", v1.PodRunning), pod("a-exec-3", "n", v1.PodRunning)}
	s := recordOf(full...)
	require.Empty(t, s.overbooked)
	s.pod(noon, pod("b-driver", "n", v1.PodPending))
	require.Len(t, s.overbooked, 1)
	require.Contains(t, s.overbooked[0], "since default/b-driver was bound")

	s = recordOf(full...)
	s.pod(noon, pod("a-exec-3", "n", v1.PodFailed))
	s.deleted(noon, pod("a-exec-2", "n", v1.PodRunning))
	s.pod(noon, pod("b-driver", "n", v1.PodPending))
	s.pod(noon, pod("b-exec-1", "n", v1.PodPending))
	require.Empty(t, s.overbooked, "a pod that has ended takes no room, and neither does one that is gone")
}

func TestADriverThatIsDeletedHasEnded(t *testing.T) {
	s := recordOf(pod("a-driver", "n", v1.PodRunning))
	s.deleted(noon.Add(time.Hour), pod("a-driver", "n", v1.PodRunning))
	require.Equal(t, noon.Add(time.Hour), s.list()[0].Ended)
}

func TestSeatsShowWhoSitsWhereAndWhatIsKept(t *testing.T) {
	s := recordOf(
		pod("a-driver", "n", v1.PodRunning, reservation(`{"roles":[{"requests":{"cpu":"2"}}],"slots":[{"node":"n","count":2},{"node":"m","count":1}]}`)),
		pod("a-exec-1", "n", v1.PodRunning),
		pod("b-driver", "", v1.PodPending),
	)
	require.Equal(t, []Node{{Name: "n", CPU: 8000, Seat: []Seat{{"a", Driver, 2000}, {"a", Executor, 2000}, {"a", Kept, 2000}}}}, s.seats())
	s.pod(noon, pod("a-driver", "n", v1.PodSucceeded))
	s.deleted(noon, pod("a-exec-1", "n", v1.PodRunning))
	require.Equal(t, []Node{{Name: "n", CPU: 8000}}, s.seats())
}

// A node that goes takes room away from a gang that was started whole: what it lost may have to wait. Everybody else is
// judged as before.
func TestAGangThatLosesANodeIsNotHalfStarted(t *testing.T) {
	slots := reservation(`{"slots":[{"node":"lost","count":1},{"node":"n","count":1}]}`)
	refused := pod("a-exec-2", "", v1.PodPending, refusal("no room"))
	for name, test := range map[string]struct {
		pods   []*v1.Pod
		spared bool
	}{
		"its driver was there":                  {[]*v1.Pod{pod("a-driver", "lost", v1.PodRunning)}, true},
		"an executor was there":                 {[]*v1.Pod{pod("a-driver", "n", v1.PodRunning), pod("a-exec-1", "lost", v1.PodRunning)}, true},
		"a slot was there":                      {[]*v1.Pod{pod("a-driver", "n", v1.PodRunning, slots)}, true},
		"a slot moved there":                    {[]*v1.Pod{pod("a-driver", "n", v1.PodRunning), pod("a-driver", "n", v1.PodRunning, slots)}, true},
		"it had nothing there":                  {[]*v1.Pod{pod("a-driver", "n", v1.PodRunning)}, false},
		"it waited, with a reservation in vain": {[]*v1.Pod{pod("a-driver", "", v1.PodPending, slots), pod("a-driver", "n", v1.PodRunning)}, false},
		"somebody else had something there":     {[]*v1.Pod{pod("b-driver", "lost", v1.PodRunning), pod("a-driver", "n", v1.PodRunning)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := recordOf(test.pods...)
			s.nodeGone("lost")
			s.pod(noon, refused)
			for _, a := range s.list() {
				if a.Name == "a" {
					require.Equal(t, test.spared, a.HalfStarted == "")
				}
			}
		})
	}
	s := recordOf()
	s.nodeGone("lost")
	s.pod(noon, pod("a-driver", "n", v1.PodRunning, slots))
	s.pod(noon, refused)
	require.Empty(t, s.list()[0].HalfStarted, "the node went between the plan and the binding")
}

func TestPodsAreCountedOnANodeThatComesBack(t *testing.T) {
	full := []*v1.Pod{pod("a-driver", "n", v1.PodRunning), pod("a-exec-1", "n", v1.PodRunning), pod("a-exec-2", "n", v1.PodRunning), pod("a-exec-3", "n", v1.PodRunning)}
	s := recordOf(full...)
	s.nodeGone("n")
	require.Len(t, s.seats(), 1, "its pods are still there")
	s.node(&v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Status: v1.NodeStatus{
		Allocatable: v1.ResourceList{v1.ResourceCPU: resource.MustParse("8"), v1.ResourcePods: resource.MustParse("110")}}})
	s.pod(noon, pod("b-driver", "n", v1.PodPending))
	require.Len(t, s.overbooked, 1)

	s = recordOf()
	s.nodeGone("n")
	require.Empty(t, s.seats())
}

func TestAnExecutorTooManyMayBeRefused(t *testing.T) {
	slots := reservation(`{"slots":[{"node":"n","count":2}]}`)
	s := recordOf(pod("a-driver", "n", v1.PodRunning, slots), pod("a-exec-1", "n", v1.PodRunning), pod("a-exec-2", "", v1.PodPending), pod("a-exec-3", "", v1.PodPending))
	s.deleted(noon, pod("a-exec-1", "n", v1.PodRunning))
	s.pod(noon, pod("a-exec-3", "", v1.PodPending, refusal("no room")))
	require.Empty(t, s.list()[0].HalfStarted, "it came while there was no slot for it")
	s.pod(noon, pod("a-exec-2", "", v1.PodPending, refusal("no room")))
	require.NotEmpty(t, s.list()[0].HalfStarted)
}

// An API server that comes back is heard of in no order: a pod that is new may be seen before the one in whose place it is.
func TestNothingIsJudgedWhileNobodyCanSee(t *testing.T) {
	slots := reservation(`{"slots":[{"node":"n","count":3}]}`)
	full := []*v1.Pod{pod("a-driver", "n", v1.PodRunning, slots), pod("a-exec-1", "n", v1.PodRunning), pod("a-exec-2", "n", v1.PodRunning), pod("b-exec-1", "n", v1.PodRunning)}
	refused := pod("a-exec-4", "", v1.PodPending, refusal("no room"))

	s := recordOf(full...)
	s.blind = true
	s.pod(noon, refused)
	s.pod(noon, pod("a-exec-3", "n", v1.PodPending))
	s.deleted(noon, full[3])
	s.see(noon)
	require.Empty(t, s.overbooked, "what was too much has gone")
	require.Empty(t, s.list()[0].HalfStarted, "there are executors for all slots")
	require.Zero(t, s.list()[0].Refused)

	s = recordOf(full...)
	s.blind = true
	s.pod(noon, refused)
	s.pod(noon, pod("b-exec-2", "n", v1.PodPending))
	s.see(noon)
	require.Len(t, s.overbooked, 1, "it still is too much")
	require.NotEmpty(t, s.list()[0].HalfStarted, "a slot of it is open")
}
