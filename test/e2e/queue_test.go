//go:build e2e

package e2e

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/test/e2e/witness"
)

// What files/queues.yaml is about.
const (
	lender   = "lender"
	borrower = "borrower"
	// seats are the pods of Spark that the nodes take.
	seats = 6
	// lent are the seats that the lender needs: those of a driver and two executors.
	lent = 3
	// reclaimBound is how long the lender's driver may wait for its node: until it may take back, until the pods it takes
	// have ended, and as long again as all that for a busy machine.
	reclaimBound = 2 * (3 + 5 + 10) * time.Second
)

//go:embed files/queues.yaml
var queues string

//go:embed files/driver-template.yaml
var driverTemplate string

//go:embed files/sums.py
var sums string

// An application grows by dynamic allocation into what another queue has lent, and gives it back.
//
// Seen failing when the ledger took the oldest executors, when it took none, and when it did not keep the room that came
// free for whom it was taken back.
func TestABorrowerGivesExecutorsBackAndFinishes(t *testing.T) {
	useQueues(t)
	keepEvidence(t) // before the queues go
	endMap, endReduce, endLender := newGate(t), newGate(t), newGate(t)

	submitSums(t, "borrowing", endMap, endReduce)
	eventually(t, "the borrower fills the nodes", func(context.Context) (string, error) {
		if held := endMap.arrived.Load(); held < seats-1 {
			return fmt.Sprintf("%d executors work", held), nil
		}
		return "", nil
	})
	endMap.open()
	// Now every executor holds a part of what the second stage reads.
	eventually(t, "the borrower's second stage begins", func(context.Context) (string, error) {
		if held := endReduce.arrived.Load(); held < seats-1 {
			return fmt.Sprintf("%d executors work", held), nil
		}
		return "", nil
	})
	awaitQueue(t, borrower, func(status v1alpha1.QueueStatus) bool {
		return holds(status.Used, seats) && status.Borrowed.Memory().Sign() > 0 && status.Running == 1
	})
	before := pods(t, "borrowing")[0]

	submit(t, application{name: "lending", namespace: lender, scheduler: retinue, gates: []string{endLender.url}, conf: map[string]string{
		"spark.executor.instances":                            "2",
		"spark.kubernetes.driver.label." + witness.NeedsLabel: "2",
	}})
	awaitRunning(t, "lending", lent-1)
	awaitQueue(t, lender, func(status v1alpha1.QueueStatus) bool { return holds(status.Used, lent) && status.Running == 1 })
	awaitQueue(t, borrower, func(status v1alpha1.QueueStatus) bool { return holds(status.Used, seats-lent) })
	requireTakenBack(t)
	requireReplacementsWait(t)

	endLender.open()
	log := awaitSuccess(t, "lending")
	requirePi(t, log)
	if want := "Executors: 2\n"; !strings.Contains(log, want) {
		t.Errorf("the lender's driver does not say %q:\n%s", want, log)
	}
	// What was given back comes back.
	awaitRunning(t, "borrowing", seats-1)
	endReduce.open()
	requireSum(t, awaitSuccess(t, "borrowing"))
	requireSameDriver(t, before)
	requireNoViolation(t)
	for _, queue := range []string{lender, borrower} {
		awaitQueue(t, queue, func(status v1alpha1.QueueStatus) bool {
			return holds(status.Used, 0) && status.Borrowed.Memory().IsZero() && status.Running == 0 && status.Waiting == 0
		})
	}
}

// useQueues makes the two queues and their namespaces, and returns when the scheduler knows them. Other tests have none.
func useQueues(t *testing.T) {
	t.Helper()
	manifest := filepath.Join(box.dir, "queues.yaml")
	if err := os.WriteFile(manifest, []byte(queues), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := box.control.Kubectl(t.Context(), "apply", "--validate=strict", "-f", manifest); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := box.control.Kubectl(context.Background(), "delete", "queues.retinue.dev", lender, borrower); err != nil {
			t.Error(err)
		}
	})
	for _, queue := range []string{lender, borrower} {
		awaitQueue(t, queue, func(status v1alpha1.QueueStatus) bool {
			return meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionValid)
		})
	}
}

// submitSums submits sums.py to the borrower, with dynamic allocation: one executor at the start, and more tasks than
// executors find room.
func submitSums(t *testing.T, name string, gates ...*gate) {
	t.Helper()
	_, err := box.client.CoreV1().ConfigMaps(borrower).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "program"},
		Data:       map[string]string{"sums.py": sums},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	template := filepath.Join(box.dir, "driver-template.yaml")
	if err := os.WriteFile(template, []byte(driverTemplate), 0o644); err != nil {
		t.Fatal(err)
	}
	app := application{name: name, namespace: borrower, scheduler: retinue, python: "/opt/program/sums.py", conf: map[string]string{
		"spark.kubernetes.driver.podTemplateFile":                  template,
		"spark.kubernetes.driver.label." + witness.NeedsLabel:      "1",
		"spark.executor.instances":                                 "1",
		"spark.dynamicAllocation.enabled":                          "true",
		"spark.dynamicAllocation.shuffleTracking.enabled":          "true",
		"spark.dynamicAllocation.minExecutors":                     "1",
		"spark.dynamicAllocation.initialExecutors":                 "1",
		"spark.dynamicAllocation.maxExecutors":                     fmt.Sprint(seats),
		"spark.dynamicAllocation.sustainedSchedulerBacklogTimeout": "1s",
	}}
	for _, gate := range gates {
		app.gates = append(app.gates, gate.url)
	}
	submit(t, app)
}

// requireSum checks the result of sums.py, and that it had to compute again what the evicted executors had written.
func requireSum(t *testing.T, log string) {
	t.Helper()
	const numbers = 100 * tasks
	if want := fmt.Sprintf("The sum is %d\n", numbers*(numbers+1)/2); !strings.Contains(log, want) {
		t.Errorf("the borrower's driver does not say %q:\n%s", want, log)
	}
	_, line, _ := strings.Cut(log, "Tasks of the first stage: ")
	line, _, _ = strings.Cut(line, "\n")
	if ran, err := strconv.Atoi(line); err != nil || ran < tasks+lent {
		t.Errorf("%q tasks of the first stage ran, want at least %d: each evicted executor had finished one", line, tasks+lent)
	} else {
		t.Logf("%d tasks of the first stage ran, %d of them again", ran, ran-tasks)
	}
}

// awaitQueue waits until the status of a queue is as it should be.
func awaitQueue(t *testing.T, name string, right func(v1alpha1.QueueStatus) bool) {
	t.Helper()
	var columns v1alpha1.QueueColumns
	eventually(t, "the status of queue "+name, func(ctx context.Context) (string, error) {
		content, err := box.control.Kubectl(ctx, "get", "queues.retinue.dev", name, "-o", "json")
		if err != nil {
			return "", err
		}
		var queue v1alpha1.Queue
		if err := json.Unmarshal(content, &queue); err != nil {
			return "", err
		}
		if columns = queue.Status.Columns; !right(queue.Status) {
			return fmt.Sprintf("it is %+v", queue.Status), nil
		}
		return "", nil
	})
	t.Logf("queue %s: memory %s, borrowed %q", name, columns.Memory, columns.Borrowed)
}

// holds tells whether the memory of a list is that of so many pods.
func holds(list corev1.ResourceList, pods int64) bool {
	one := resource.MustParse(podMemory)
	return list.Memory().Value() == pods*one.Value()
}

// pods are the driver and the executors of an application, by birth.
func pods(t *testing.T, app string) []witness.Life {
	t.Helper()
	driver, err := driverOf(t.Context(), app)
	if err != nil || driver == nil {
		t.Fatalf("%s: no driver: %v", app, err)
	}
	lives, err := box.witness.Lives(driver.Labels[witness.AppLabel])
	if err != nil {
		t.Fatalf("the witness did not see everything: %v", err)
	}
	return lives
}

// requireTakenBack checks that the youngest executors of the borrower were evicted, no more than the lender needed, and
// that what they left was taken by nobody but the lender.
func requireTakenBack(t *testing.T) {
	t.Helper()
	lending := pods(t, "lending")
	driver, last := lending[0], lending[len(lending)-1]
	waited := driver.Bound.Seen.Sub(driver.Born.Seen)
	t.Logf("the lender's driver waited %.1f s, and its last executor had a node %.1f s later",
		waited.Seconds(), last.Bound.Seen.Sub(driver.Bound.Seen).Seconds())
	if waited > reclaimBound {
		t.Errorf("the lender's driver waited %v, want at most %v", waited, reclaimBound)
	}
	var given, kept []witness.Life
	for _, life := range pods(t, "borrowing")[1:] {
		switch {
		case life.Evicted.Happened():
			given = append(given, life)
			t.Logf("%s: evicted %.1f s after the lender came, and gone %.1f s later", life.Pod.Name,
				life.Evicted.Seen.Sub(driver.Born.Seen).Seconds(), life.Over.Seen.Sub(life.Evicted.Seen).Seconds())
			if life.Evicted.Before(driver.Born) || !life.Over.Before(driver.Bound) {
				t.Errorf("%s: it went before the lender came, or after that was bound", life.Pod.Name)
			}
			requireReason(t, life.Pod, driver.Pod)
		case life.Bound.Happened():
			kept = append(kept, life)
			if driver.Born.Before(life.Bound) {
				t.Errorf("%s of the borrower was bound to %s, where the lender takes its room back", life.Pod.Name, life.Pod.Spec.NodeName)
			}
		}
	}
	if len(given) != lent {
		t.Errorf("%d executors were evicted, want %d", len(given), lent)
	}
	for _, young := range given {
		for _, old := range kept {
			if young.Pod.CreationTimestamp.Before(&old.Pod.CreationTimestamp) {
				t.Errorf("%s was evicted, but the younger %s was not", young.Pod.Name, old.Pod.Name)
			}
		}
	}
}

// requireReason checks that an event tells who took a pod back for whom.
func requireReason(t *testing.T, victim, taker *corev1.Pod) {
	t.Helper()
	eventually(t, victim.Name+": an event says why", func(ctx context.Context) (string, error) {
		events, err := box.client.CoreV1().Events(victim.Namespace).List(ctx, metav1.ListOptions{
			FieldSelector: "reason=Reclaimed,involvedObject.name=" + victim.Name,
		})
		if err != nil || len(events.Items) == 0 {
			return "there is none", err
		}
		message := events.Items[0].Message
		for _, want := range []string{"queue " + borrower, "queue " + lender, taker.Namespace + "/" + taker.Name} {
			if !strings.Contains(message, want) {
				return "", fmt.Errorf("it does not name %s: %s", want, message)
			}
		}
		t.Log(message)
		return "", nil
	})
}

// requireReplacementsWait checks that the borrower asks for its executors again, and is told why it has to wait.
func requireReplacementsWait(t *testing.T) {
	t.Helper()
	eventually(t, "the borrower's replacements wait", func(context.Context) (string, error) {
		var waiting []string
		for _, life := range pods(t, "borrowing") {
			if !life.Over.Happened() && !life.Bound.Happened() {
				condition := witness.ScheduledCondition(life.Pod)
				if condition == nil || condition.Message == "" {
					return life.Pod.Name + " waits without a reason", nil
				}
				waiting = append(waiting, life.Pod.Name+": "+condition.Message)
			}
		}
		if len(waiting) < lent {
			return fmt.Sprintf("%d wait: %q", len(waiting), waiting), nil
		}
		t.Log(strings.Join(waiting, "\n"))
		return "", nil
	})
}

// requireSameDriver checks that the borrower's driver is the one of the start, and that nobody wanted it to go.
func requireSameDriver(t *testing.T, before witness.Life) {
	t.Helper()
	driver := pods(t, "borrowing")[0]
	if driver.Pod.UID != before.Pod.UID || driver.Evicted.Happened() || driver.Pod.DeletionTimestamp != nil {
		t.Errorf("the borrower's driver %s did not stay: evicted %v", driver.Pod.Name, driver.Evicted.Happened())
	}
	for _, status := range driver.Pod.Status.ContainerStatuses {
		if status.RestartCount != 0 {
			t.Errorf("the borrower's driver %s restarted %d times", driver.Pod.Name, status.RestartCount)
		}
	}
}
