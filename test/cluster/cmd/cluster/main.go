// Command cluster is the local Kubernetes cluster of `make cluster-up` and `make cluster-down`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"retinue.dev/retinue/test/cluster"
)

const usage = `usage:
  cluster up   [flags]   start the cluster, or bring the one that runs up to date
  cluster down [flags]   stop it and remove its data; its logs stay

cluster up --help lists the flags.
`

// exitUsage is the exit code for a command line that makes no sense; failures exit with 1.
const exitUsage = 2

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(exitUsage)
	case err != nil:
		fmt.Fprintf(os.Stderr, "%v\n", err)
		os.Exit(1)
	}
}

// errUsage means that the reason was printed already.
var errUsage = errors.New("wrong usage")

// settings are the flags of both commands; down uses Dir and Kubeconfig only.
type settings struct {
	config     cluster.Config
	kubeconfig string
	nodes      cluster.Nodes
	standard   bool
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 || args[0] != "up" && args[0] != "down" {
		fmt.Fprint(os.Stderr, usage)
		return errUsage
	}
	var s settings
	flags := flag.NewFlagSet("cluster "+args[0], flag.ContinueOnError)
	flags.StringVar(&s.config.Dir, "dir", ".cache/cluster", "`directory` of the cluster's state and logs")
	flags.StringVar(&s.kubeconfig, "kubeconfig", "bin/kubeconfig", "`file` to write the administrator's kubeconfig to")
	if args[0] == "up" {
		flags.IntVar(&s.config.PortBase, "port", 16443, "`port` of the API server; the seven after it are used as well; 0 means free ones")
		flags.IntVar(&s.nodes.Count, "nodes", 20, "`number` of fake nodes")
		flags.StringVar(&s.nodes.CPU, "node-cpu", "16", "CPUs of each node, a `quantity`")
		flags.StringVar(&s.nodes.Memory, "node-memory", "64Gi", "memory of each node, a `quantity`")
		flags.IntVar(&s.nodes.Zones, "zones", 3, "`number` of zones the nodes are spread over")
		flags.BoolVar(&s.config.LeaderElection, "leader-elect", true, "let the scheduler take its lease first, as in production")
		flags.BoolVar(&s.standard, "default-scheduler", true, "run the unmodified kube-scheduler beside Retinue, for pods that name no scheduler")
		flags.StringVar(&s.config.SchedulerConfig, "scheduler-config", "", "`file` with Retinue's configuration instead of manifests/setup/scheduler-config.yaml")
	}
	if err := flags.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "cluster %s: unexpected argument %q\n", args[0], flags.Arg(0))
		return errUsage
	}
	if args[0] == "down" {
		return down(ctx, s, out)
	}
	return up(ctx, s, out)
}

func up(ctx context.Context, s settings, out io.Writer) error {
	// Whatever this process inherited (a jobserver's pipes, say) must not stay open in processes that outlive it.
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil && !errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("keep inherited files from the cluster: %w", err)
	}
	began := time.Now()
	s.config.Detached = true
	s.config.Progress = out
	s.config.ExpectedNodes = s.nodes.Count
	s.config.Components = []cluster.Component{cluster.Etcd, cluster.APIServer, cluster.ControllerManager, cluster.Kwok, cluster.Scheduler}
	if s.standard {
		s.config.Components = append(s.config.Components, cluster.DefaultScheduler)
	}
	c, err := cluster.Start(ctx, s.config)
	if err != nil {
		return err
	}
	if err := copyFile(c.Kubeconfig(), s.kubeconfig); err != nil {
		return err
	}
	if err := c.EnsureNodes(ctx, s.nodes); err != nil {
		return err
	}
	fmt.Fprintf(out, "cluster is up after %.1f s: %s, %d nodes of %s CPU and %s\n", time.Since(began).Seconds(),
		c.Server(), s.nodes.Count, s.nodes.CPU, s.nodes.Memory)
	fmt.Fprintf(out, "try: bin/kubectl --kubeconfig %s get nodes\n", s.kubeconfig)
	return nil
}

func down(ctx context.Context, s settings, out io.Writer) error {
	if err := cluster.Down(ctx, s.config.Dir, out); err != nil {
		return err
	}
	if err := os.Remove(s.kubeconfig); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cluster down: %w", err)
	}
	fmt.Fprintln(out, "cluster is down")
	return nil
}

// copyFile replaces to in one step, readable by its owner only.
func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("cluster up: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("cluster up: %w", err)
	}
	if err := os.WriteFile(to+".new", content, 0o600); err != nil {
		return fmt.Errorf("cluster up: %w", err)
	}
	if err := os.Rename(to+".new", to); err != nil {
		return fmt.Errorf("cluster up: %w", err)
	}
	return nil
}
