//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"retinue.dev/retinue/test/e2e/distribution"
	"retinue.dev/retinue/test/e2e/witness"
)

// patience is how long anything may take that Spark does: starting a JVM takes seconds, on a busy machine many.
const patience = 5 * time.Minute

// application is what a test asks spark-submit to run.
type application struct {
	name      string   // of the application; no two tests use the same
	namespace string   // empty means spark-apps
	scheduler string   // spark.kubernetes.scheduler.name
	python    string   // path of a program in Python; empty means SparkPi on the JVM
	gates     []string // URLs that let it go on, one after another; without one SparkPi ends after one round
	conf      map[string]string
}

// tasks per round of SparkPi, or per stage of another program: several for each executor.
const tasks = 12

// submit runs `spark-submit --deploy-mode cluster` as the account `spark`, and returns when it has created everything
// and ended. The application goes on.
func submit(t *testing.T, app application) {
	t.Helper()
	conf := map[string]string{
		"spark.kubernetes.namespace":                              cmp.Or(app.namespace, namespace),
		"spark.kubernetes.scheduler.name":                         app.scheduler,
		"spark.kubernetes.container.image":                        box.spark.Image,
		"spark.kubernetes.authenticate.driver.serviceAccountName": serviceAccount,
		"spark.kubernetes.submission.waitAppCompletion":           "false",
		"spark.executor.instances":                                strconv.Itoa(executors),
		"spark.driver.memory":                                     heap,
		"spark.executor.memory":                                   heap,
		"spark.kubernetes.driver.request.cores":                   podCPU,
		"spark.kubernetes.executor.request.cores":                 podCPU,
	}
	for key, value := range app.conf {
		conf[key] = value
	}
	arguments := []string{"--master=k8s://" + box.control.Server(), "--deploy-mode=cluster", "--name=" + app.name}
	for key, value := range conf {
		arguments = append(arguments, "--conf", key+"="+value)
	}
	if app.python != "" {
		arguments = append(arguments, "local://"+app.python, strconv.Itoa(tasks))
	} else {
		arguments = append(arguments, "--class="+distribution.PiClass, "local://"+distribution.PiJar, strconv.Itoa(tasks))
	}
	arguments = append(arguments, app.gates...)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(box.spark.Home, "bin", "spark-submit"), arguments...)
	cmd.Env = append(os.Environ(),
		"SPARK_HOME="+box.spark.Home,
		"KUBECONFIG="+box.userKubeconfig,
		distribution.JavaEnv,
		// The machine's name is unknown inside the sandbox.
		"SPARK_LOCAL_IP="+gateway.Addr().String(),
	)
	log := filepath.Join(box.logs(), "spark-submit-"+app.name+".log")
	began := time.Now()
	output, err := cmd.CombinedOutput()
	if writeErr := os.WriteFile(log, output, 0o644); writeErr != nil {
		t.Fatal(writeErr)
	}
	if err != nil {
		t.Fatalf("spark-submit of %s: %v; it said (%s):\n%s", app.name, err, log, output)
	}
	t.Logf("%s: submitted in %.1f s", app.name, time.Since(began).Seconds())
}

// driverOf returns the driver, nil when there is none.
func driverOf(ctx context.Context, app string) (*corev1.Pod, error) {
	pods, err := podsWith(ctx, witness.RoleLabel+"=driver,"+witness.NameLabel+"="+app)
	if err != nil || len(pods) == 0 {
		return nil, err
	}
	return &pods[0], nil
}

// executorsOf goes by the application's id: its name may be another in the driver's own code.
func executorsOf(ctx context.Context, driver *corev1.Pod) ([]corev1.Pod, error) {
	return podsWith(ctx, witness.RoleLabel+"=executor,"+witness.AppLabel+"="+driver.Labels[witness.AppLabel])
}

func podsWith(ctx context.Context, selector string) ([]corev1.Pod, error) {
	list, err := box.client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// eventually waits until condition returns an empty string: until then it says what is missing.
func eventually(t *testing.T, what string, condition func(ctx context.Context) (missing string, err error)) {
	t.Helper()
	began := time.Now()
	var missing string
	err := wait.PollUntilContextTimeout(t.Context(), pollInterval, patience, true, func(ctx context.Context) (bool, error) {
		if err := box.err(); err != nil {
			return false, err
		}
		var err error
		missing, err = condition(ctx)
		return missing == "" && err == nil, err
	})
	if err != nil {
		t.Fatalf("%s: %v: %s", what, err, missing)
	}
	t.Logf("%s after %.1f s", what, time.Since(began).Seconds())
}

// awaitRunning waits until the driver and so many executors run.
func awaitRunning(t *testing.T, app string, executors int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s: driver and %d executors run", app, executors), func(ctx context.Context) (string, error) {
		driver, err := driverOf(ctx, app)
		if err != nil || driver == nil {
			return "no driver yet", err
		}
		if over(driver) {
			return "", fmt.Errorf("driver %s has ended: %s\n%s", driver.Name, driver.Status.Phase, logOf(ctx, driver))
		}
		running := 0
		pods, err := executorsOf(ctx, driver)
		for i := range pods {
			if pods[i].Status.Phase == corev1.PodRunning {
				running++
			}
		}
		if driver.Status.Phase != corev1.PodRunning || running < executors {
			return fmt.Sprintf("driver %s, %d of %d executors run", driver.Status.Phase, running, executors), err
		}
		return "", err
	})
}

// awaitSuccess waits until the driver has succeeded and returns its log.
func awaitSuccess(t *testing.T, app string) string {
	t.Helper()
	var log string
	eventually(t, app+": succeeded", func(ctx context.Context) (string, error) {
		driver, err := driverOf(ctx, app)
		if err != nil || driver == nil {
			return "no driver yet", err
		}
		if !over(driver) {
			return fmt.Sprintf("driver %s is %s", driver.Name, driver.Status.Phase), nil
		}
		log = logOf(ctx, driver)
		if driver.Status.Phase != corev1.PodSucceeded {
			return "", fmt.Errorf("driver %s is %s; its log:\n%s", driver.Name, driver.Status.Phase, log)
		}
		return "", nil
	})
	return log
}

func over(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// logOf is a pod's log as `kubectl logs` gives it: through the API server, from the kubelet.
func logOf(ctx context.Context, pod *corev1.Pod) string {
	content, err := box.client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(ctx)
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	return string(content)
}

// requireNoViolation checks the whole time since the start, not only that of the test.
func requireNoViolation(t *testing.T) {
	t.Helper()
	violations, err := box.witness.Violations(retinue)
	if err != nil {
		t.Fatalf("the witness did not see everything: %v", err)
	}
	for _, violation := range violations {
		t.Errorf("half a gang: %s", violation)
	}
}
