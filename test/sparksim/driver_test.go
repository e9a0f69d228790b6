package sparksim

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/spark"
)

var epoch = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// stage is a driver with its executors, on a clock that the test moves.
type stage struct {
	t         *testing.T
	driver    *driver
	script    script
	now       time.Time
	executors map[int]*v1.Pod // id -> pod
	ended     v1.PodPhase
	wake      time.Time
}

// newStage is a driver of a static application, unless properties say otherwise.
func newStage(t *testing.T, role *gang.Role, properties map[string]string) *stage {
	settings, err := readSettings(properties, spark.Version{Major: 3, Minor: 5}, role)
	require.NoError(t, err)
	return &stage{
		t:         t,
		now:       epoch,
		driver:    &driver{role: role, settings: settings, started: epoch, unseen: map[int]time.Time{}},
		script:    script{endless: true, outcome: v1.PodSucceeded},
		executors: map[int]*v1.Pod{},
	}
}

func static(count int) *gang.Role { return &gang.Role{Count: count, Minimum: count, Maximum: &count} }

// look lets the driver look once, does what it plans and returns the ids of the executors it created.
func (s *stage) look() []int {
	s.t.Helper()
	var pods []*v1.Pod
	for _, pod := range s.executors {
		pods = append(pods, pod)
	}
	p := s.driver.step(s.now, s.script, pods)
	s.ended, s.wake = p.end, p.wake
	for _, pod := range p.remove {
		delete(s.executors, executorID(pod))
	}
	for _, id := range p.create {
		s.executors[id] = &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{UID: types.UID(fmt.Sprint("executor-", id)), Labels: map[string]string{spark.LabelExecutorID: strconv.Itoa(id)}},
			Status:     v1.PodStatus{Phase: v1.PodPending},
		}
	}
	return p.create
}

func (s *stage) after(d time.Duration) []int {
	s.now = s.now.Add(d)
	return s.look()
}

func (s *stage) become(phase v1.PodPhase, ids ...int) {
	for _, id := range ids {
		require.Contains(s.t, s.executors, id)
		s.executors[id].Status.Phase = phase
	}
}

func TestADriverAsksForItsExecutorsInBatches(t *testing.T) {
	s := newStage(t, static(12), nil)
	require.Equal(t, []int{1, 2, 3, 4, 5}, s.look(), "Spark 3.5 asks for five at a time")
	require.Empty(t, s.look(), "the batch was created a moment ago")
	require.Equal(t, epoch.Add(time.Second), s.wake)
	require.Empty(t, s.after(999*time.Millisecond))
	require.Equal(t, []int{6, 7, 8, 9, 10}, s.after(time.Millisecond))
	require.Equal(t, []int{11, 12}, s.after(time.Second))
	require.Empty(t, s.after(time.Second))
}

func TestADriverWaitsUntilItSeesWhatItCreated(t *testing.T) {
	s := newStage(t, static(7), nil)
	first := s.look()
	hidden := s.executors[5]
	delete(s.executors, 5)
	require.Len(t, first, 5)
	require.Empty(t, s.after(time.Second), "executor 5 has not shown up")
	s.executors[5] = hidden
	require.Equal(t, []int{6, 7}, s.after(time.Second))
	s.look()
	delete(s.executors, 6)
	require.Equal(t, []int{8}, s.after(time.Second), "an executor that was seen and is gone is replaced")
}

func TestAnExecutorThatNeverShowsUpIsGivenUp(t *testing.T) {
	s := newStage(t, static(1), nil)
	s.look()
	delete(s.executors, 1)
	require.Empty(t, s.after(599*time.Second))
	require.Equal(t, []int{2}, s.after(time.Second))
}

func TestNoMoreExecutorsArePendingThanAllowed(t *testing.T) {
	s := newStage(t, static(5), map[string]string{maxPendingKey: "2"})
	require.Equal(t, []int{1, 2}, s.look())
	require.Empty(t, s.after(time.Second))
	s.become(v1.PodRunning, 1)
	require.Equal(t, []int{3}, s.after(time.Second))
}

func TestALostExecutorIsReplacedUnderANewID(t *testing.T) {
	for _, lost := range []v1.PodPhase{v1.PodFailed, v1.PodSucceeded} {
		s := newStage(t, static(3), nil)
		s.look()
		s.become(v1.PodRunning, 1, 2, 3)
		s.after(time.Second)
		s.become(lost, 2)
		require.Equal(t, []int{4}, s.after(time.Second))
		require.NotContains(t, s.executors, 2, "Spark deletes executors that have ended")
	}
}

func TestTooManyFailuresEndTheDriver(t *testing.T) {
	s := newStage(t, static(1), map[string]string{deleteKey: "false"})
	s.look()
	for id := 1; id <= 3; id++ {
		s.become(v1.PodFailed, id)
		require.Equal(t, []int{id + 1}, s.after(time.Second))
		s.after(time.Second)
		require.Empty(t, s.ended, "%d failures are not too many, and none counts twice", id)
	}
	s.become(v1.PodFailed, 4)
	s.after(time.Second)
	require.Equal(t, v1.PodFailed, s.ended)
}

func TestAnApplicationTakesItsRunTimeWithAllItsExecutors(t *testing.T) {
	s := newStage(t, static(4), nil)
	s.script = script{runTime: 10 * time.Second, outcome: v1.PodSucceeded}
	s.look()
	s.after(time.Second)
	s.become(v1.PodRunning, 1, 2, 3, 4)
	s.after(time.Second)
	require.Equal(t, s.now.Add(10*time.Second), s.wake)
	s.after(9 * time.Second)
	require.Empty(t, s.ended)
	s.after(time.Second)
	require.Equal(t, v1.PodSucceeded, s.ended)
}

func TestAnApplicationWithHalfItsExecutorsBeginsLateAndTakesTwiceAsLong(t *testing.T) {
	s := newStage(t, static(4), nil)
	s.script = script{runTime: 10 * time.Second, outcome: v1.PodFailed}
	s.look()
	s.become(v1.PodRunning, 1, 2)
	s.after(time.Second)
	require.Equal(t, epoch.Add(30*time.Second), s.wake, "Spark waits for the others before it starts its work")
	s.after(29 * time.Second)
	require.Equal(t, s.now.Add(20*time.Second), s.wake)
	s.after(10 * time.Second)
	s.become(v1.PodRunning, 3, 4)
	s.after(0)
	require.Equal(t, s.now.Add(5*time.Second), s.wake)
	s.after(5 * time.Second)
	require.Equal(t, v1.PodFailed, s.ended)
}

func TestAnApplicationWithoutExecutorsNeverEnds(t *testing.T) {
	s := newStage(t, static(2), nil)
	s.script = script{runTime: time.Second, outcome: v1.PodSucceeded}
	s.look()
	s.after(time.Second)
	s.after(24 * time.Hour)
	require.Empty(t, s.ended)
	require.Zero(t, s.wake)
	s.script.runTime = 0
	s.after(0)
	require.Equal(t, v1.PodSucceeded, s.ended, "a run time of nothing ends it all the same")
}

func TestADriverAloneWorksByItself(t *testing.T) {
	s := newStage(t, nil, nil)
	s.script = script{runTime: 5 * time.Second, outcome: v1.PodSucceeded}
	require.Empty(t, s.look())
	require.Equal(t, epoch.Add(5*time.Second), s.wake)
	s.after(5 * time.Second)
	require.Equal(t, v1.PodSucceeded, s.ended)
}

func TestDynamicAllocationGrowsAndShrinksWithinItsBounds(t *testing.T) {
	four := 4
	s := newStage(t, &gang.Role{Count: 2, Minimum: 1, Maximum: &four}, nil)
	require.Equal(t, []int{1, 2}, s.look(), "the start does not depend on what the application can use")
	s.after(time.Second)
	s.become(v1.PodRunning, 1, 2)
	nine := 9
	s.script.executors = &nine
	require.Equal(t, []int{3, 4}, s.after(time.Second))
	s.become(v1.PodRunning, 3)
	none := 0
	s.script.executors = &none
	require.Empty(t, s.after(time.Second))
	s.after(59 * time.Second)
	require.Len(t, s.executors, 4, "executors stay until they were idle long enough")
	s.after(time.Second)
	require.Contains(t, s.executors, 1, "the oldest stays")
	require.Len(t, s.executors, 1)
}

func TestDynamicAllocationFromNothingAsksForOneWhenThereIsWork(t *testing.T) {
	s := newStage(t, &gang.Role{}, nil)
	s.script = script{runTime: 3 * time.Second, outcome: v1.PodSucceeded}
	require.Equal(t, []int{1}, s.look())
	s.become(v1.PodRunning, 1)
	s.after(time.Second)
	s.after(3 * time.Second)
	require.Equal(t, v1.PodSucceeded, s.ended)
}

func TestSettingsDefaultToSparksOfTheVersion(t *testing.T) {
	for version, want := range map[spark.Version]int{{Major: 3, Minor: 4}: 5, {Major: 4, Minor: 1}: 10, {Major: 4, Minor: 2}: 20} {
		got, err := readSettings(nil, version, static(10))
		require.NoError(t, err)
		require.Equal(t, want, got.batchSize)
		require.Equal(t, time.Second, got.batchDelay)
		require.True(t, got.deleteEnded)
	}
}

func TestSettingsAreReadAsSparkReadsThem(t *testing.T) {
	got, err := readSettings(map[string]string{
		batchSizeKey: " 7 ", batchDelayKey: "1500", maxPendingKey: "3", creationTimeoutKey: "2min", podNamePrefixKey: "etl",
		disableConfigMapKey: "true", driverHostKey: "svc.ns", serviceAccountKey: "sa", "spark.executor.cores": "3", "spark.executor.memory": "2g",
		deleteKey: "FALSE", maxFailuresKey: "1", idleTimeoutKey: "90", registeredRatioKey: "0.5", registeredTimeoutKey: "5s", appNameKey: "x",
	}, spark.Version{Major: 4, Minor: 0}, static(1))
	require.NoError(t, err)
	want := settings{
		batchSize: 7, batchDelay: 1500 * time.Millisecond, maxPending: 3, creationTimeout: 2 * time.Minute, podNamePrefix: "etl",
		maxFailures: 1, idleTimeout: 90 * time.Second, registeredRatio: 0.5, registeredTimeout: 5 * time.Second, appName: "x",
		driverHost: "svc.ns", serviceAccount: "sa", cores: "3", memory: "2g",
	}
	require.Empty(t, cmp.Diff(want, got, cmp.AllowUnexported(settings{})))
}

func TestABadSettingIsNamed(t *testing.T) {
	for key, value := range map[string]string{
		batchSizeKey: "0", batchDelayKey: "1.5s", maxPendingKey: "many", deleteKey: "perhaps", registeredRatioKey: "2", idleTimeoutKey: "1y",
		creationTimeoutKey: "99999999999999999d",
	} {
		_, err := readSettings(map[string]string{key: value}, spark.Latest, nil)
		require.ErrorContains(t, err, fmt.Sprintf("%s=%q: want", key, value))
	}
}

func TestABadAnnotationIsNamed(t *testing.T) {
	for key, value := range map[string]string{AnnotationRunTime: "-1s", AnnotationOutcome: "Unknown", AnnotationExecutors: "few"} {
		_, err := readScript(&v1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{key: value}}})
		require.ErrorContains(t, err, fmt.Sprintf("annotation %s=%q: want", key, value))
	}
}
