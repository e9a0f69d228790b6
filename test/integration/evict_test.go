package integration_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// departures are the pods that have been told to go, in order, each with the reason that a disruption has, if it is one.
type departures struct {
	mu   sync.Mutex // guards everything below
	gone []string
}

// departures watches all pods of the default namespace until the test ends.
func (s *stage) departures() *departures {
	s.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	list, err := s.client.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{})
	require.NoError(s.t, err)
	events, err := s.client.CoreV1().Pods(metav1.NamespaceDefault).Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	require.NoError(s.t, err)
	d := &departures{}
	var watching sync.WaitGroup
	watching.Go(func() {
		for event := range events.ResultChan() {
			if pod, ok := event.Object.(*v1.Pod); ok && pod.DeletionTimestamp != nil {
				d.see(pod)
			}
		}
	})
	s.t.Cleanup(func() {
		stop()
		watching.Wait()
	})
	return d
}

func (d *departures) see(pod *v1.Pod) {
	departure := pod.Name
	for _, condition := range pod.Status.Conditions {
		if condition.Type == v1.DisruptionTarget && condition.Status == v1.ConditionTrue {
			departure += " " + condition.Reason
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Contains(d.gone, departure) {
		d.gone = append(d.gone, departure)
	}
}

func (d *departures) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.gone)
}

// priority makes a PriorityClass that goes when the test ends.
func (s *stage) priority(name string, value int32) {
	s.t.Helper()
	_, err := s.client.SchedulingV1().PriorityClasses().Create(s.t.Context(), &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Value: value}, metav1.CreateOptions{})
	require.NoError(s.t, err)
	s.t.Cleanup(func() {
		if err := s.client.SchedulingV1().PriorityClasses().Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
			s.t.Error(err)
		}
	})
}

// TestABudgetProtectsAsLongAsOthersWillDo: a pod of a higher priority takes the place of one that no PodDisruptionBudget
// protects, by the Eviction API, and of those that one protects only when nothing else is left.
func TestABudgetProtectsAsLongAsOthersWillDo(t *testing.T) {
	s := newStage(t, 1, 4)
	s.priority("urgent", 1000)
	_, err := s.client.PolicyV1().PodDisruptionBudgets(metav1.NamespaceDefault).Create(t.Context(), &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "guard"},
		Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: ptr.To(intstr.FromInt32(2)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"guarded": "yes"}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := s.client.PolicyV1().PodDisruptionBudgets(metav1.NamespaceDefault).Delete(context.Background(), "guard", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	s.lone("free", 2) // the youngest go first, unless they are protected
	s.awaitBound("free")
	for _, name := range []string{"guarded-1", "guarded-2"} {
		s.member(name, 1, func(pod *v1.Pod) { pod.Labels = map[string]string{"guarded": "yes"} })
		s.awaitBound(name)
	}
	require.True(t, eventually(func() bool {
		budget, err := s.client.PolicyV1().PodDisruptionBudgets(metav1.NamespaceDefault).Get(t.Context(), "guard", metav1.GetOptions{})
		require.NoError(t, err)
		return budget.Status.CurrentHealthy == 2 && budget.Status.DisruptionsAllowed == 0
	}), "the budget has not been counted")

	gone := s.departures()
	urgent := func(pod *v1.Pod) { pod.Spec.PriorityClassName = "urgent" }
	s.member("urgent-1", 2, urgent)
	s.awaitBound("urgent-1")
	require.Equal(t, []string{"free EvictionByEvictionAPI"}, gone.all())
	s.awaitEvent(metav1.NamespaceDefault, "free", "makes place for default/urgent-1, whose priority is 1000; this one has 0")
	s.member("urgent-2", 2, urgent)
	s.awaitBound("urgent-2")
	require.ElementsMatch(t, []string{"free EvictionByEvictionAPI", "guarded-1 PreemptionByScheduler", "guarded-2 PreemptionByScheduler"}, gone.all())
}

// TestAnApplicationThatIsTakenBackLosesItsDriverLast: a driver that saw its executors go would ask for others.
func TestAnApplicationThatIsTakenBackLosesItsDriverLast(t *testing.T) {
	s := newStage(t, 1, 8)
	s.priority("urgent", 1000)
	s.simulate()
	driver := s.submit(sized("app", 1, 3, 2))
	s.awaitWhole("app", 3)
	gone := s.departures()
	s.member("urgent", 8, func(pod *v1.Pod) { pod.Spec.PriorityClassName = "urgent" })
	s.awaitBound("urgent")
	all := gone.all()
	last := slices.IndexFunc(all, func(departure string) bool { return strings.HasPrefix(departure, driver.Name+" ") })
	require.Equal(t, 3, last, "the driver is not the fourth of %v", all)
	for _, departure := range all[:4] {
		require.True(t, strings.HasSuffix(departure, " EvictionByEvictionAPI"), departure)
	}
	s.awaitEvent(metav1.NamespaceDefault, driver.Name, "this pod, with its whole gang, of cpu 7")
}
