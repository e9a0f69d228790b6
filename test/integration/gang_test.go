package integration_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"retinue.dev/retinue/test/cluster"
	"retinue.dev/retinue/test/sparksim"
	"retinue.dev/retinue/test/sparksim/chronicle"
)

func TestAnApplicationStartsWholeAndTheNextWaitsForItsEnd(t *testing.T) {
	s := newStage(t, 2, 8)
	s.simulate()
	first := s.submit(sized("first", 1, 6, 2)) // 13 of 16 CPUs
	s.awaitWhole("first", 6)

	second := s.submit(sized("second", 1, 6, 2))
	reason := s.awaitWaiting("second", "ClusterFull:")
	require.Regexp(t, `[0-9]`, reason, "a reason has numbers")
	s.lone("small", 1) // the scheduler goes on, and fills what the gangs leave
	s.awaitBound("small")

	s.finish(first)
	s.awaitWhole("second", 6)
	s.finish(second)
	s.awaitEnd("second")
	s.remove("small")
	s.requireEmpty(2, 8)
}

func TestSlotsSurviveASchedulerThatIsKilled(t *testing.T) {
	s := newStage(t, 2, 8)
	// Nobody plays the driver yet, so it runs without executors: all its room is slots.
	first := s.submit(sized("first", 1, 6, 2))
	s.awaitOne("first", "has a driver that runs", func(a chronicle.Application) bool { return a.Phase == v1.PodRunning && a.Slots == 6 })
	require.NoError(t, s.cluster.KillComponent(t.Context(), cluster.Scheduler))
	s.submit(sized("second", 1, 6, 2))
	require.NoError(t, s.cluster.StartComponent(t.Context(), cluster.Scheduler))
	s.awaitWaiting("second", "ClusterFull:")
	s.lone("large", 4) // fits on every node, were it not for the slots
	s.awaitRefused("large")
	s.simulate()
	s.awaitWhole("first", 6)
	s.remove("large")
	s.finish(first)
	s.awaitWhole("second", 6)
}

func TestALostExecutorsSlotIsKeptForTheNextOne(t *testing.T) {
	s := newStage(t, 1, 8)
	s.simulate()
	s.submit(sized("app", 2, 3, 2))
	s.awaitWhole("app", 3)
	s.lone("thief", 2)
	s.awaitRefused("thief")
	for range 3 {
		lost := s.executorsOf("app")[0]
		s.remove(lost)
		require.Eventually(t, func() bool {
			running := s.executorsOf("app")
			return len(running) == 3 && !slices.Contains(running, lost)
		}, patience, look, "%s is not replaced", lost)
	}
	s.requireUnbound("thief")
}

func TestADriverThatCrashesGivesEverythingBack(t *testing.T) {
	s := newStage(t, 2, 8)
	s.simulate()
	application := sized("crash", 2, 7, 2)
	application.Properties["spark.kubernetes.driver.annotation."+sparksim.AnnotationOutcome] = "Failed"
	driver := s.submit(application)
	s.awaitWhole("crash", 7)
	s.submit(sized("next", 2, 7, 2))
	s.awaitWaiting("next", "ClusterFull:")
	s.finish(driver)
	s.awaitOne("crash", "has failed", func(a chronicle.Application) bool { return a.Phase == v1.PodFailed })
	s.awaitWhole("next", 7)
}

func TestAnInvalidSettingIsToldOnTheDriver(t *testing.T) {
	s := newStage(t, 1, 8)
	s.simulate()
	application := sized("wrong", 1, 2, 1)
	application.Properties["spark.executor.memory"] = "plenty"
	s.submit(application)
	reason := s.awaitWaiting("wrong", "InvalidGang:")
	require.Contains(t, reason, `spark.executor.memory="plenty"`)
	s.submit(sized("right", 1, 2, 1))
	s.awaitWhole("right", 2)
}

func TestADriverWaitsForAConfigMapThatComesLate(t *testing.T) {
	s := newStage(t, 1, 8)
	s.simulate()
	late := clocktesting.NewFakeClock(time.Now())
	submitter := sparksim.Submitter{Client: s.client, Clock: late, Delay: time.Hour}
	submitted := make(chan error, 1)
	go func() {
		_, err := submitter.Submit(t.Context(), sized("late", 1, 3, 2))
		submitted <- err
	}()
	s.awaitOne("late", "is seen", func(a chronicle.Application) bool { return a.Driver != "" })
	// Longer than the quick retries last; and others are served meanwhile.
	s.submit(sized("other", 1, 1, 1))
	s.awaitWhole("other", 1)
	require.Never(t, func() bool { return s.application("late").Node != "" }, 4*time.Second, look)
	late.Step(time.Hour)
	require.NoError(t, <-submitted)
	require.Empty(t, s.application("late").Reason, "waiting a few seconds for the ConfigMap is nothing to tell")
	s.awaitOne("late", "waits: 7 CPUs are needed, and 6 are free", func(a chronicle.Application) bool { return strings.Contains(a.Reason, "ClusterFull:") })
}

// application is the latest of the name.
func (s *stage) application(name string) chronicle.Application {
	var latest chronicle.Application
	for _, a := range s.chronicle.Applications() {
		if a.Name == name {
			latest = a
		}
	}
	return latest
}

// 64 applications of 25 CPUs would fit into 1,600 CPUs, but a node of 16 CPUs holds two executors of 6 CPUs and not a
// third: 100 nodes hold 200 executors, those of 50 applications.
func TestFragmentedRoomIsNotMistakenForRoom(t *testing.T) {
	const nodes, applications, fit, executors = 100, 64, 50, 4
	s := newStage(t, nodes, 16)
	s.simulate()
	var all []sparksim.Application
	for i := range applications {
		all = append(all, sized(fmt.Sprintf("app-%02d", i), 1, executors, 6))
	}
	s.submitAll(all)
	numbers := regexp.MustCompile(`[A-Z][A-Za-z]+: .*[0-9]`)
	count := func(all []chronicle.Application) (whole, waiting int) {
		for _, a := range all {
			switch {
			case a.Running == executors && a.Slots == executors:
				whole++
			case a.Node == "" && numbers.MatchString(a.Reason):
				waiting++
			}
		}
		return whole, waiting
	}
	s.await("50 run whole and 14 wait with a reason", func(all []chronicle.Application) bool {
		whole, waiting := count(all)
		return whole == fit && waiting == applications-fit
	})
	for _, a := range s.chronicle.Applications() {
		if a.Node == "" {
			t.Logf("%s: %s", a.Name, a.Reason)
		}
	}
	// One that ends makes room for exactly one other.
	s.finishAny()
	s.await("one has ended and another has started", func(all []chronicle.Application) bool {
		whole, waiting := count(all)
		return whole == fit && waiting == applications-fit-1
	})
}

// finishAny ends some application that runs.
func (s *stage) finishAny() {
	s.t.Helper()
	for _, a := range s.chronicle.Applications() {
		if a.Holding() {
			s.finish(&v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: a.Driver}})
			return
		}
	}
	s.t.Fatal("nothing runs")
}
