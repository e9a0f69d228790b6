package main

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"retinue.dev/retinue/pkg/spark"
)

// gpuScript finds a GPU, as ./gpu.sh in the driver's working directory.
//
//go:embed files/gpu.sh
var gpuScript []byte

// driver is the process that the driver's container would run.
type driver struct {
	cancel context.CancelFunc
	stdin  io.Closer
	opened chan struct{} // closed when the application's context is open
	ended  chan struct{} // closed when the process has ended

	mu      sync.Mutex // guards everything below
	target  int        // executors of the last request; 0 means that none was made
	tail    []string   // the last lines of its output, without stack frames
	failure error      // how it ended
}

// tailLines is how much of a driver's output an error repeats.
const tailLines = 60

// pollInterval is how often the API server is asked for executors.
const pollInterval = 200 * time.Millisecond

// startDriver runs what the driver's container would run, with the files that it would have.
func (t *trial) startDriver(ctx context.Context, token string, app application) (*driver, error) {
	confDir, workDir := filepath.Join(t.dir, "conf"), filepath.Join(t.dir, "work-dir")
	if err := errors.Join(os.MkdirAll(confDir, 0o755), os.MkdirAll(workDir, 0o755)); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(workDir, "gpu.sh"), gpuScript, 0o755); err != nil {
		return nil, err
	}
	for name, content := range app.files {
		if err := os.WriteFile(filepath.Join(confDir, name), []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	// Where the process is not in a cluster: how to reach it, and which ports to use.
	conf := []string{
		"spark.kubernetes.authenticate.driver.mounted.caCertFile=" + t.authority,
		"spark.kubernetes.authenticate.driver.mounted.oauthTokenFile=" + token,
		"spark.driver.bindAddress=127.0.0.1", "spark.driver.host=127.0.0.1",
		"spark.driver.port=0", "spark.driver.blockManager.port=0", "spark.ui.enabled=false",
	}
	if !strings.Contains(strings.Join(t.testCase.conf, " "), "spark.kubernetes.driver.master=") {
		conf = append(conf, "spark.kubernetes.driver.master="+t.server)
	}
	if app.template != nil {
		file := filepath.Join(confDir, "pod-spec-template.yml")
		if err := os.WriteFile(file, []byte(app.templateText), 0o644); err != nil {
			return nil, err
		}
		conf = append(conf, "spark.kubernetes.executor.podTemplateFile="+file)
	}
	args := []string{"--deploy-mode", "client"}
	for _, setting := range conf {
		args = append(args, "--conf", setting)
	}
	container := app.driver.Spec.Containers[len(app.driver.Spec.Containers)-1]
	if len(container.Args) == 0 || container.Args[0] != "driver" {
		return nil, fmt.Errorf("the driver's container has arguments %q", container.Args)
	}
	for _, argument := range container.Args[1:] {
		args = append(args, strings.Replace(argument, "/opt/spark/conf/", confDir+"/", 1))
	}

	ctx, cancel := context.WithCancel(ctx)
	d := &driver{cancel: cancel, opened: make(chan struct{}), ended: make(chan struct{})}
	cmd := t.home.submit(ctx, workDir, confDir, args...)
	for _, variable := range container.Env {
		if variable.Value != "" && variable.Name != "SPARK_CONF_DIR" && variable.Name != "SPARK_LOCAL_DIRS" {
			cmd.Env = append(cmd.Env, variable.Name+"="+variable.Value)
		}
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	d.stdin = stdin
	output, writer, err := os.Pipe()
	if err != nil {
		cancel()
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = writer, writer
	err = cmd.Start()
	writer.Close()
	if err != nil {
		cancel()
		output.Close()
		return nil, fmt.Errorf("driver: %w", err)
	}
	go func() { // ends with the process
		defer close(d.ended)
		d.follow(output)
		err := cmd.Wait()
		d.mu.Lock()
		defer d.mu.Unlock()
		d.failure = err
	}()
	return d, nil
}

// request is the line in which Spark's allocator says how many executors it wants.
var request = regexp.MustCompile(`Going to request \d+ executors from Kubernetes for ResourceProfile Id: 0, target: (\d+),`)

// follow reads the driver's output to its end.
func (d *driver) follow(output io.ReadCloser) {
	defer output.Close()
	opened := false
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if strings.Contains(line, "is open") && strings.HasPrefix(line, "context of ") && !opened {
			opened = true
			close(d.opened)
		}
		d.mu.Lock()
		if match := request.FindStringSubmatch(line); match != nil {
			if target, err := strconv.Atoi(match[1]); err == nil {
				d.target = target
			}
		}
		if !strings.HasPrefix(line, "\tat ") { // a frame of a stack
			d.tail = append(d.tail, line)
			d.tail = d.tail[max(0, len(d.tail)-tailLines):]
		}
		d.mu.Unlock()
	}
}

// asked is how many executors the driver last asked for.
func (d *driver) asked() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.target
}

// kill ends the driver at once, and all that it started.
func (d *driver) kill() {
	d.cancel()
	<-d.ended
}

// problem is the error of a driver that did not do what was expected, with the end of its output.
func (d *driver) problem(what string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return fmt.Errorf("%s\n%s", what, strings.Join(d.tail, "\n"))
}

// executors waits for the executors of a driver and returns them. If there should be none the driver is asked to end,
// and every executor it has created until then is returned.
func (t *trial) executors(ctx context.Context, d *driver, want int) ([]v1.Pod, error) {
	if want == 0 {
		select {
		case <-d.opened:
		case <-d.ended:
			return nil, d.problem("the driver ended before its context was open")
		case <-ctx.Done():
			return nil, d.problem("the driver does not open its context")
		}
		if err := d.stdin.Close(); err != nil {
			return nil, err
		}
		select {
		case <-d.ended:
		case <-ctx.Done():
			return nil, d.problem("the driver does not end")
		}
		if d.failure != nil {
			return nil, d.problem("driver: " + d.failure.Error())
		}
		return t.listExecutors(ctx)
	}
	var pods []v1.Pod
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		var err error
		pods, err = t.listExecutors(ctx)
		if err != nil || len(pods) >= want {
			return true, err
		}
		select {
		case <-d.ended:
			return false, d.problem("the driver ended")
		default:
			return false, nil
		}
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, d.problem(fmt.Sprintf("%d executors instead of %d", len(pods), want))
	}
	return pods, err
}

// listExecutors returns the executors that the driver has created, or one that stands for those of its StatefulSet.
func (t *trial) listExecutors(ctx context.Context) ([]v1.Pod, error) {
	options := metav1.ListOptions{LabelSelector: spark.LabelRole + "=" + spark.RoleExecutor}
	if !t.testCase.statefulSet {
		pods, err := t.client.CoreV1().Pods(t.namespace).List(ctx, options)
		if err != nil {
			return nil, err
		}
		return pods.Items, nil
	}
	// No controller runs here that would make pods of it.
	sets, err := t.client.AppsV1().StatefulSets(t.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var pods []v1.Pod
	for _, set := range sets.Items {
		for range *set.Spec.Replicas {
			pods = append(pods, v1.Pod{ObjectMeta: set.Spec.Template.ObjectMeta, Spec: set.Spec.Template.Spec})
		}
	}
	return pods, nil
}
