//go:build autoscaler

package autoscaler

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/plugin/autoscaler"
	"retinue.dev/retinue/test/cluster"
	"retinue.dev/retinue/test/sparksim"
)

const (
	// patience is how long anything may take that happens at all; a busy machine needs minutes.
	patience = 6 * time.Minute
	look     = 100 * time.Millisecond
	// theirNamespace is where placeholders are.
	theirNamespace = "retinue-placeholders"
)

// binaries is where the programs are; empty means bin/. placeholders runs a Karpenter that knows no CapacityBuffers.
var (
	binaries     = flag.String("autoscaler.binaries", "", "directory of the programs")
	placeholders = flag.Bool("autoscaler.placeholders", false, "run a Karpenter that looks at pending pods and knows no CapacityBuffers")
)

var (
	nodePools  = schema.GroupVersionResource{Group: "karpenter.sh", Version: "v1", Resource: "nodepools"}
	nodeClaims = schema.GroupVersionResource{Group: "karpenter.sh", Version: "v1", Resource: "nodeclaims"}
)

// elastic is a cluster without nodes, and Karpenter beside it.
type elastic struct {
	t         *testing.T
	cluster   *cluster.Cluster
	client    kubernetes.Interface
	dynamic   dynamic.Interface
	submitter sparksim.Submitter
	witness   *witness
	ended     chan struct{} // closed when Karpenter has ended
}

// start makes one for a test. Karpenter buys at most so many CPUs.
func start(t *testing.T, limitCPU int) *elastic { return startWith(t, limitCPU, cluster.Config{}) }

// startWith is start with a cluster of another kind, and other things that Karpenter is to know as variables.
func startWith(t *testing.T, limitCPU int, config cluster.Config, variables ...string) *elastic {
	t.Helper()
	config.Binaries = *binaries
	c := cluster.ForTest(t, config)
	e := &elastic{t: t, cluster: c, client: c.Client(), submitter: sparksim.Submitter{Client: c.Client(), Clock: clock.RealClock{}}}
	var err error
	e.dynamic, err = dynamic.NewForConfig(c.RESTConfig())
	require.NoError(t, err)
	kinds, definitions := "karpenter-crds.yaml", []string{"crd/nodepools.karpenter.sh", "crd/kwoknodeclasses.karpenter.kwok.sh"}
	if *placeholders {
		kinds = "karpenter-before-crds.yaml"
	} else {
		definitions = append(definitions, "crd/capacitybuffers.autoscaling.x-k8s.io")
	}
	e.kubectl("apply", "--server-side", "-f", filepath.Join(c.Config().Binaries, kinds))
	e.kubectl(append([]string{"wait", "--for=condition=Established", "--timeout=2m"}, definitions...)...)
	e.kubectl("create", "namespace", "karpenter")
	text, err := os.ReadFile("nodepool.yaml")
	require.NoError(t, err)
	pool := filepath.Join(t.TempDir(), "nodepool.yaml")
	require.NoError(t, os.WriteFile(pool, []byte(strings.ReplaceAll(string(text), "LIMIT", strconv.Itoa(limitCPU))), 0o600))
	e.kubectl("apply", "-f", pool)
	e.karpenter(variables)
	e.witness = watch(t, e.client)
	return e
}

func (e *elastic) kubectl(args ...string) string {
	e.t.Helper()
	out, err := e.cluster.Kubectl(e.t.Context(), args...)
	require.NoError(e.t, err, "%s", out)
	return string(out)
}

// karpenter runs until the test ends.
func (e *elastic) karpenter(variables []string) {
	log := filepath.Join(e.cluster.Config().Dir, "karpenter.log")
	out, err := os.Create(log)
	require.NoError(e.t, err)
	program, gates := "karpenter-kwok", "CapacityBuffer=true"
	if *placeholders {
		program, gates = "karpenter-before-kwok", ""
	}
	cmd := exec.Command(filepath.Join(e.cluster.Config().Binaries, program), "--disable-leader-election=true",
		"--metrics-port=0", "--health-probe-port=0") // any that is free
	cmd.Env = append(os.Environ(), "KUBECONFIG="+e.cluster.Kubeconfig(), "SYSTEM_NAMESPACE=karpenter", "FEATURE_GATES="+gates)
	cmd.Env = append(cmd.Env, variables...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(e.t, cmd.Start())
	e.ended = make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(e.ended)
	}()
	e.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-e.ended
		_ = out.Close()
		if e.t.Failed() {
			if text, err := os.ReadFile(log); err == nil {
				e.t.Logf("karpenter:\n%s", text[max(0, len(text)-6000):])
			}
		}
	})
}

// simulate lets drivers that run do their work.
func (e *elastic) simulate() {
	simulator, err := sparksim.New(sparksim.Config{Client: e.client, Clock: clock.RealClock{}})
	require.NoError(e.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := simulator.Run(ctx); err != nil {
			e.t.Error(err)
		}
	}()
	e.t.Cleanup(func() { cancel(); <-done })
}

// submit is an application of a driver with one CPU.
func (e *elastic) submit(name string, executors, cpu int, more ...string) *v1.Pod {
	return e.submitLike(sparksim.Application{Name: name}, executors, cpu, more...)
}

// submitLike is submit with whatever else there is to say of an application.
func (e *elastic) submitLike(application sparksim.Application, executors, cpu int, more ...string) *v1.Pod {
	e.t.Helper()
	application.Properties = map[string]string{
		"spark.kubernetes.scheduler.name": "retinue", "spark.driver.cores": "1",
		"spark.executor.cores": strconv.Itoa(cpu), "spark.executor.instances": strconv.Itoa(executors),
	}
	for _, setting := range more {
		key, value, _ := strings.Cut(setting, "=")
		application.Properties[key] = value
	}
	driver, err := e.submitter.Submit(e.t.Context(), application)
	require.NoError(e.t, err)
	return driver
}

// await waits until something is so, and returns how long that took.
func (e *elastic) await(what string, so func(ctx context.Context) (bool, error)) time.Duration {
	e.t.Helper()
	began := time.Now()
	err := wait.PollUntilContextTimeout(e.t.Context(), look, patience, true, func(ctx context.Context) (bool, error) {
		select {
		case <-e.ended:
			return false, errors.New("Karpenter has ended")
		default:
		}
		ok, err := so(ctx)
		return ok && err == nil, nil // the next look may be luckier
	})
	if err != nil {
		e.tell()
	}
	require.NoError(e.t, err, "%s: not so after %s", what, patience)
	took := time.Since(began)
	e.t.Logf("%s after %.1f s", what, took.Seconds())
	return took
}

// tell prints what there is.
func (e *elastic) tell() {
	for _, kinds := range []string{"nodes,nodeclaims", "pods -A", "capacitybuffers,podtemplates -A", "events -A"} {
		out, err := e.cluster.Kubectl(context.Background(), append([]string{"get", "-o", "wide"}, strings.Fields(kinds)...)...)
		e.t.Logf("%s\n%s%v", kinds, out, err)
	}
}

// bound counts the pods of an application that have a node.
func (e *elastic) bound(ctx context.Context, selector string) (int, error) {
	pods, err := e.client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return 0, err
	}
	bound := 0
	for i := range pods.Items {
		if pods.Items[i].Spec.NodeName != "" {
			bound++
		}
	}
	return bound, nil
}

// awaitBound waits for so many pods with a node.
func (e *elastic) awaitBound(what, selector string, pods int) time.Duration {
	e.t.Helper()
	return e.await(fmt.Sprintf("%s: %d pods have a node", what, pods), func(ctx context.Context) (bool, error) {
		bound, err := e.bound(ctx, selector)
		return bound == pods, err
	})
}

// application is the selector of an application's pods.
func application(driver *v1.Pod) string {
	return "spark-app-selector=" + driver.Labels["spark-app-selector"]
}

// boughtCPU is what Karpenter has bought, in CPUs.
func (e *elastic) boughtCPU() int64 {
	e.t.Helper()
	claims, err := e.dynamic.Resource(nodeClaims).List(e.t.Context(), metav1.ListOptions{})
	require.NoError(e.t, err)
	nodes, err := e.client.CoreV1().Nodes().List(e.t.Context(), metav1.ListOptions{LabelSelector: "karpenter.sh/nodepool"})
	require.NoError(e.t, err)
	require.Len(e.t, nodes.Items, len(claims.Items), "nodes of claims")
	cpu := int64(0)
	for i := range nodes.Items {
		cpu += sizeOf(&nodes.Items[i])
	}
	return cpu
}

// sizeOf is how many CPUs the instance of a node has. What the kwok provider writes as capacity is what the pods ask for that it was bought for.
func sizeOf(node *v1.Node) int64 {
	cpu, _ := strconv.ParseInt(node.Labels["karpenter.kwok.sh/instance-cpu"], 10, 64)
	return cpu
}

// awaitNoNodes waits until everything that was bought has gone.
func (e *elastic) awaitNoNodes() {
	e.t.Helper()
	e.await("all that was bought has gone", func(ctx context.Context) (bool, error) {
		claims, err := e.dynamic.Resource(nodeClaims).List(ctx, metav1.ListOptions{})
		return err == nil && len(claims.Items) == 0, err
	})
}

// awaitNothingAsked waits until nothing is left of what was asked for.
func (e *elastic) awaitNothingAsked() {
	e.t.Helper()
	e.await("nothing is asked for", func(ctx context.Context) (bool, error) {
		asked, err := e.asked(ctx)
		if err != nil || asked > 0 {
			return false, err
		}
		templates, err := e.client.CoreV1().PodTemplates(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
		return err == nil && len(templates.Items) == 0, err
	})
}

// asked counts the objects by which nodes are asked for.
func (e *elastic) asked(ctx context.Context) (int, error) {
	if *placeholders {
		pods, err := e.client.CoreV1().Pods(theirNamespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return 0, err
		}
		return len(pods.Items), nil
	}
	buffers, err := e.dynamic.Resource(autoscaler.Resource).List(ctx, metav1.ListOptions{})
	if err != nil {
		return 0, err
	}
	return len(buffers.Items), nil
}

// end deletes all pods.
func (e *elastic) end() {
	e.t.Helper()
	e.kubectl("delete", "deployments,pods", "--all", "--wait=false")
}
