package newcomer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/test/cluster"
	"retinue.dev/retinue/test/sparksim"
)

const (
	patience = 2 * time.Minute // for anything that happens at all, on a busy machine
	longest  = 8 * time.Minute // for a command; what takes longer belongs to elsewhere, with the reason
	look     = 200 * time.Millisecond
	shown    = 3000 // bytes of what a command prints
)

// stage is a checkout of this very tree at another place, as somebody has it who follows the README.
type stage struct {
	t   *testing.T
	dir string
	env []string
}

// newStage copies the tree, without git, to a path that holds a space; what was built for it is linked, not built again.
func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, dir: filepath.Join(t.TempDir(), "a check out")}
	for _, name := range []string{"go.mod", "go.sum", "Makefile", "README.md"} {
		s.copyFile(filepath.Join("../..", name), filepath.Join(s.dir, name))
	}
	for _, name := range []string{"cmd", "hack", "manifests", "pkg", "test"} {
		require.NoError(t, os.CopyFS(filepath.Join(s.dir, name), os.DirFS(filepath.Join("../..", name))))
	}
	built, err := os.ReadDir("../../bin")
	require.NoError(t, err, "run `make binaries` first")
	require.NoError(t, os.Mkdir(filepath.Join(s.dir, "bin"), 0o755))
	for _, file := range built {
		if strings.HasPrefix(file.Name(), ".") || strings.HasPrefix(file.Name(), "kubeconfig") || !file.Type().IsRegular() {
			continue
		}
		from, to := filepath.Join("../../bin", file.Name()), filepath.Join(s.dir, "bin", file.Name())
		if err := os.Link(from, to); err != nil { // another file system
			s.copyFile(from, to)
		}
	}
	version, err := exec.CommandContext(t.Context(), "../../hack/version").Output()
	require.NoError(t, err)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "MAKE") && !strings.HasPrefix(variable, "MFLAGS") { // an outer make's
			s.env = append(s.env, variable)
		}
	}
	s.env = append(s.env, "CLUSTER_PORT=0", "VERSION="+strings.TrimSpace(string(version)),
		"KUBECONFIG="+filepath.Join(s.dir, "bin/kubeconfig"), "PATH="+filepath.Join(s.dir, "bin")+":"+os.Getenv("PATH"))
	return s
}

func (s *stage) copyFile(from, to string) {
	s.t.Helper()
	content, err := os.ReadFile(from)
	require.NoError(s.t, err)
	info, err := os.Stat(from)
	require.NoError(s.t, err)
	require.NoError(s.t, os.MkdirAll(filepath.Dir(to), 0o755))
	require.NoError(s.t, os.WriteFile(to, content, info.Mode()))
}

func (s *stage) write(name, content string) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o644))
}

// shell runs a script as somebody at a terminal would, and returns all that it prints.
func (s *stage) shell(ctx context.Context, script string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, longest, fmt.Errorf("it took longer than %s", longest))
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env = s.dir, s.env
	cmd.WaitDelay = time.Second // what a killed shell started may hold the pipe
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = errors.Join(err, context.Cause(ctx))
	}
	return string(out), err
}

// run is a command that has to succeed and to print what the page shows; what a scheduler does takes its time.
func (s *stage) run(p passage) {
	s.t.Helper()
	began := time.Now()
	var out, lacks string
	var err error
	_ = wait.PollUntilContextTimeout(s.t.Context(), look, patience, true, func(ctx context.Context) (bool, error) {
		out, err = s.shell(ctx, p.text)
		lacks = missing(p.prints, out)
		return err != nil || lacks == "", nil
	})
	require.NoError(s.t, err, "%s:%d: %s\n%s", p.file, p.line, p.text, out)
	require.Empty(s.t, lacks, "%s:%d: %s prints\n%s\nand not this line", p.file, p.line, p.text, out)
	s.t.Logf("%s:%d: $ %s, after %.1f s\n%s", p.file, p.line, p.text, time.Since(began).Seconds(), out[:min(len(out), shown)])
}

// apply is an object that the API server has to accept.
func (s *stage) apply(p passage) {
	s.t.Helper()
	s.write("object.yaml", p.text)
	out, err := s.shell(s.t.Context(), "kubectl apply --validate=strict -f object.yaml")
	require.NoError(s.t, err, "%s:%d: %s", p.file, p.line, out)
}

// Every command of the README is run here, in its order, but those in elsewhere.
func TestTheCommandsOfTheReadmeWork(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a cluster")
	}
	s := newStage(t)
	t.Cleanup(func() { // make cluster-up starts what outlives this process
		if out, err := s.shell(context.Background(), "[ ! -x bin/cluster ] || bin/cluster down"); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	s.write("my.properties", "spark.executor.instances=10\nspark.executor.cores=6\n")
	s.write("my.yaml", s.configuration("collectAfter: 7m"))
	before := map[string]func(){
		"kubectl get pod my-driver -n team-a -o jsonpath='{.status.conditions[?(@.type==\"PodScheduled\")].message}'": s.fragment,
	}
	after := map[string]func(){
		"make cluster-up": s.podsWithoutASchedulerStart,
		"make cluster-up CLUSTER_FLAGS='--scheduler-config my.yaml'": func() {
			content, err := os.ReadFile(filepath.Join(s.dir, ".cache/cluster/scheduler/config.yaml"))
			require.NoError(t, err)
			require.Contains(t, string(content), "collectAfter: 7m")
		},
	}
	down := false
	done := map[string]bool{}
	for _, p := range passages(t, "../../README.md") {
		if prepare := before[p.text]; prepare != nil {
			prepare()
		}
		reason, left := elsewhere[p.text]
		switch {
		case left:
			t.Logf("README.md:%d: not run: %s: %s", p.line, p.text, reason)
			if strings.HasPrefix(p.text, "make ") {
				out, err := s.shell(t.Context(), strings.Replace(p.text, "make ", "make --dry-run ", 1))
				require.NoError(t, err, "README.md:%d: %s\n%s", p.line, p.text, out)
			}
		case p.language == yamlBlock:
			s.apply(p)
		case p.text == "make cluster-down":
			down = true // last
		case p.text == "sparksim run":
			s.playAllNamespaces()
		case p.language == "" && done[p.text]: // mentioned again
		default:
			s.run(p)
			if check := after[p.text]; check != nil && !done[p.text] {
				check()
			}
			done[p.text] = true
		}
	}
	require.True(t, down, "the README says how to stop the cluster")
	out, err := s.shell(t.Context(), "make cluster-down")
	require.NoError(t, err, out)
	require.Contains(t, out, "cluster is down")
}

// configuration is the scheduler's, with another argument.
func (s *stage) configuration(argument string) string {
	s.t.Helper()
	content, err := os.ReadFile("../../manifests/setup/scheduler-config.yaml")
	require.NoError(s.t, err)
	const beside = "      placement: Pack\n"
	require.Contains(s.t, string(content), beside)
	return strings.Replace(string(content), beside, beside+"      "+argument+"\n", 1)
}

func (s *stage) cluster() *cluster.Cluster {
	s.t.Helper()
	c, err := cluster.Open(filepath.Join(s.dir, ".cache/cluster"))
	require.NoError(s.t, err)
	return c
}

func pod(name, scheduler, cpu string) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1.PodSpec{SchedulerName: scheduler, Containers: []v1.Container{{
			Name: "main", Image: "none", Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu)}},
		}}},
	}
}

// await waits until all pods of a namespace run.
func (s *stage) await(namespace string, count int) {
	s.t.Helper()
	pods := s.cluster().Client().CoreV1().Pods(namespace)
	err := wait.PollUntilContextTimeout(s.t.Context(), look, patience, true, func(ctx context.Context) (bool, error) {
		list, err := pods.List(ctx, metav1.ListOptions{FieldSelector: "status.phase=Running"})
		return err == nil && len(list.Items) == count, err
	})
	require.NoError(s.t, err, "%d pods of namespace %s do not run", count, namespace)
}

func (s *stage) create(namespace string, pods ...*v1.Pod) {
	s.t.Helper()
	client := s.cluster().Client().CoreV1()
	_, err := client.Namespaces().Create(s.t.Context(), &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	require.NoError(s.t, err)
	err = wait.PollUntilContextTimeout(s.t.Context(), look, patience, true, func(ctx context.Context) (bool, error) {
		_, err := client.ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, nil
	})
	require.NoError(s.t, err, "namespace %s has no service account", namespace)
	for _, pod := range pods {
		_, err := client.Pods(namespace).Create(s.t.Context(), pod, metav1.CreateOptions{})
		require.NoError(s.t, err)
	}
}

// podsWithoutASchedulerStart checks that the cluster has a scheduler for those that name none.
func (s *stage) podsWithoutASchedulerStart() {
	s.create("plain", pod("plain", "", "1"))
	s.await("plain", 1)
}

// fragment fills three quarters of every node and submits an application whose executors find no node.
func (s *stage) fragment() {
	const nodes = 20
	var fill []*v1.Pod
	for i := range nodes {
		fill = append(fill, pod(fmt.Sprintf("fill-%d", i), "retinue", "12"))
	}
	s.create("filled", fill...)
	s.await("filled", nodes)
	s.create("team-a")
	_, err := sparksim.Submitter{Client: s.cluster().Client(), Clock: clock.RealClock{}}.Submit(s.t.Context(), sparksim.Application{
		Name: "mine", Namespace: "team-a",
		Properties: map[string]string{
			"spark.kubernetes.scheduler.name": "retinue", "spark.kubernetes.driver.pod.name": "my-driver",
			"spark.executor.instances": "10", "spark.executor.cores": "6",
		},
	})
	require.NoError(s.t, err)
}

// playAllNamespaces checks that sparksim run plays an application outside of the default namespace, and says so.
func (s *stage) playAllNamespaces() {
	s.t.Helper()
	s.create("elsewhere")
	submitted, err := s.shell(s.t.Context(), "sparksim submit --namespace elsewhere --name far --conf spark.executor.instances=2")
	require.NoError(s.t, err, submitted)
	ctx, stop := context.WithCancel(s.t.Context())
	defer stop()
	cmd := exec.CommandContext(ctx, filepath.Join(s.dir, "bin/sparksim"), "run")
	cmd.Dir, cmd.Env = s.dir, s.env
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	said := filepath.Join(s.dir, "said")
	file, err := os.Create(said)
	require.NoError(s.t, err)
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	require.NoError(s.t, cmd.Start())
	s.await("elsewhere", 3)
	var text string
	err = wait.PollUntilContextTimeout(s.t.Context(), look, patience, true, func(context.Context) (bool, error) {
		content, err := os.ReadFile(said)
		text = string(content)
		return strings.Contains(text, "playing the drivers of all namespaces") && strings.Contains(text, "elsewhere/far") && strings.Contains(text, "2 executors"), err
	})
	require.NoError(s.t, err, text)
	stop()
	_ = cmd.Wait()
	out, err := s.shell(s.t.Context(), "kubectl delete namespace elsewhere plain --wait=false")
	require.NoError(s.t, err, out)
}
