package integration_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/test/cluster"
	"retinue.dev/retinue/test/sparksim"
	"retinue.dev/retinue/test/sparksim/chronicle"
)

// 200 applications, of which a twentieth has room at a time, on a cluster in which things break: the scheduler is killed 20
// times, nodes go with all that is on them and come back, executors are deleted, the API server is killed. In the end
// every application that fits has ended, none was ever half-started through Retinue's fault, and nothing is held: an
// application that needs every CPU of the cluster starts whole.
func TestEveryApplicationEndsWhateverBreaks(t *testing.T) {
	const nodes, cpu, applications, kills = 12, 16, 200, 20
	chance := rand.New(rand.NewPCG(20261121, 0))
	s := newStage(t, nodes, cpu)
	s.simulate()
	all := map[string]sparksim.Application{} // name -> what to submit again if its driver is lost
	var mixed []sparksim.Application
	for i := range applications {
		application := mixture(chance, fmt.Sprintf("app-%03d", i))
		all[application.Name] = application
		mixed = append(mixed, application)
	}
	giants := []sparksim.Application{sized("giant-node", 1, 1, cpu+1), sized("giant-cluster", 1, nodes+1, cpu)}
	s.submitAll(append(mixed, giants...))

	var outages []outage
	for kill := range kills {
		// Ends are the clock: whatever breaks, breaks while others start and end.
		s.awaitEnds(all, min(s.ended(all)+3, applications))
		s.deleteExecutors(chance, 3)
		require.NoError(t, s.cluster.KillComponent(t.Context(), cluster.Scheduler))
		t.Logf("%s: the scheduler is killed", time.Now().Format(time.StampMilli))
		lost := ""
		if kill%8 == 1 {
			lost = fmt.Sprintf("node-%04d", chance.IntN(nodes))
			s.loseNode(lost, all)
		}
		if kill%7 == 3 {
			outages = append(outages, s.breakAPIServer())
		}
		require.NoError(t, s.cluster.StartComponent(t.Context(), cluster.Scheduler))
		t.Logf("%s: it has started again", time.Now().Format(time.StampMilli))
		if kill%8 == 5 {
			lost = fmt.Sprintf("node-%04d", chance.IntN(nodes))
			s.loseNode(lost, all)
		}
		if lost != "" {
			require.NoError(t, s.cluster.StartComponent(t.Context(), cluster.Kwok))
			require.NoError(t, s.cluster.EnsureNodes(t.Context(), cluster.Nodes{Count: nodes, CPU: strconv.Itoa(cpu), Memory: "256Gi"}))
		}
	}
	s.awaitEnds(all, applications)
	bereaved := 0
	for _, a := range s.chronicle.Applications() {
		if a.Bereaved {
			bereaved++
		}
		switch {
		case strings.HasPrefix(a.Name, "giant"):
			require.Empty(t, a.Node)
			require.Contains(t, a.Reason, "NeverFits")
			s.remove(a.Driver)
		case !a.Bereaved && !slices.ContainsFunc(outages, func(o outage) bool { return o.hides(a) }):
			require.GreaterOrEqual(t, a.MostRunning, a.Slots, "%s has ended and never ran whole", a.Name)
		}
	}
	t.Logf("%d drivers, %d of their gangs lost something with a node", len(s.chronicle.Applications()), bereaved)

	// The scheduler that holds nothing now has seen a quarter of the applications start and end.
	s.submit(sized("everything", cpu, nodes-1, cpu))
	s.awaitWhole("everything", nodes-1)
}

// outage is a time in which nobody can watch what happens: the API server was down, and those who watch had to find it again.
type outage struct{ start, end time.Time }

// breakAPIServer kills the API server, starts it, and returns when the chronicle knows everything that was there then.
func (s *stage) breakAPIServer() outage {
	s.t.Helper()
	o := outage{start: time.Now()}
	s.chronicle.Blind()
	require.NoError(s.t, s.cluster.KillComponent(s.t.Context(), cluster.APIServer))
	require.NoError(s.t, s.cluster.StartComponent(s.t.Context(), cluster.APIServer))
	// The first mark may be seen in the midst of the list by which a watch begins again, the second comes after it.
	for _, name := range []string{"mark-1", "mark-2"} {
		mark := s.plain(name, v1.PodSpec{SchedulerName: "nobody", Containers: []v1.Container{{Name: "main", Image: "mark"}}})
		ctx, cancel := context.WithTimeout(s.t.Context(), patience)
		require.NoError(s.t, s.chronicle.AwaitPod(ctx, mark.UID))
		cancel()
		s.remove(name)
	}
	s.chronicle.See()
	o.end = time.Now()
	return o
}

// hides tells whether a part of an application's life was not seen.
func (o outage) hides(a chronicle.Application) bool {
	return !a.Ended.Before(o.start) && !a.Bound.After(o.end)
}

// mixture is an application of random size that works for a moment.
func mixture(chance *rand.Rand, name string) sparksim.Application {
	application := sized(name, 1+chance.IntN(2), 1+chance.IntN(8), 1+chance.IntN(4))
	set := func(key, value string) { application.Properties[key] = value }
	set("spark.kubernetes.allocation.batch.delay", "200ms")
	set("spark.scheduler.minRegisteredResourcesRatio", "1.0")
	set("spark.scheduler.maxRegisteredResourcesWaitingTime", "10m")
	set("spark.kubernetes.driver.annotation."+sparksim.AnnotationRunTime, fmt.Sprintf("%dms", 200+chance.IntN(3000)))
	switch chance.IntN(10) {
	case 0:
		set("spark.kubernetes.driver.annotation."+sparksim.AnnotationOutcome, string(v1.PodFailed))
	case 1:
		set("spark.dynamicAllocation.enabled", "true")
		set("spark.dynamicAllocation.initialExecutors", application.Properties["spark.executor.instances"])
		set("spark.dynamicAllocation.maxExecutors", application.Properties["spark.executor.instances"])
	}
	return application
}

// awaitEnds waits until so many of the applications have ended by themselves.
func (s *stage) awaitEnds(of map[string]sparksim.Application, count int) {
	s.t.Helper()
	s.await(fmt.Sprintf("%d have ended", count), func([]chronicle.Application) bool { return s.ended(of) >= count })
}

// ended counts the applications that have ended by themselves.
func (s *stage) ended(of map[string]sparksim.Application) int {
	ended := map[string]bool{}
	for _, a := range s.chronicle.Applications() {
		if _, counts := of[a.Name]; counts && (a.Phase == v1.PodSucceeded || a.Phase == v1.PodFailed) {
			ended[a.Name] = true
		}
	}
	return len(ended)
}

// deleteExecutors deletes some executors that run.
func (s *stage) deleteExecutors(chance *rand.Rand, count int) {
	s.t.Helper()
	list, err := s.client.CoreV1().Pods(metav1.NamespaceDefault).List(s.t.Context(), metav1.ListOptions{
		LabelSelector: spark.LabelRole + "=" + spark.RoleExecutor, FieldSelector: "status.phase=Running",
	})
	require.NoError(s.t, err)
	for range min(count, len(list.Items)) {
		err := s.client.CoreV1().Pods(metav1.NamespaceDefault).Delete(s.t.Context(), list.Items[chance.IntN(len(list.Items))].Name, metav1.DeleteOptions{})
		require.True(s.t, err == nil || apierrors.IsNotFound(err), "%v", err)
	}
}

// loseNode deletes a node and everything on it, as when a machine is lost. Applications whose drivers were there are
// submitted again, as their users would. Kwok stops meanwhile: it would miss now and then that a node of the same name is
// another one.
func (s *stage) loseNode(name string, all map[string]sparksim.Application) {
	s.t.Helper()
	require.NoError(s.t, s.cluster.KillComponent(s.t.Context(), cluster.Kwok))
	require.NoError(s.t, s.client.CoreV1().Nodes().Delete(s.t.Context(), name, metav1.DeleteOptions{}))
	list, err := s.client.CoreV1().Pods(metav1.NamespaceDefault).List(s.t.Context(), metav1.ListOptions{FieldSelector: "spec.nodeName=" + name})
	require.NoError(s.t, err)
	var drivers []string
	now := int64(0)
	for _, pod := range list.Items {
		err := s.client.CoreV1().Pods(pod.Namespace).Delete(s.t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
		require.True(s.t, err == nil || apierrors.IsNotFound(err), "%v", err)
		if spark.IsDriver(&pod) && pod.Status.Phase != v1.PodSucceeded && pod.Status.Phase != v1.PodFailed {
			drivers = append(drivers, pod.Labels[spark.LabelAppName])
		}
	}
	s.t.Logf("%s is lost with %d pods, of which drivers of %v", name, len(list.Items), drivers)
	for _, name := range drivers {
		if application, known := all[name]; known {
			s.submit(application)
		}
	}
}
