// Command sparksim is Spark without Spark: it submits applications as spark-submit does, and plays drivers on fake nodes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/test/sparksim"
	"retinue.dev/retinue/test/sparksim/chronicle"
)

const usage = `usage:
  sparksim submit [flags]   create what spark-submit in cluster mode creates
  sparksim run    [flags]   play the drivers of all namespaces that run on fake nodes, until interrupted

For example, with make cluster-up done:
  bin/sparksim submit --play --count 3 --run-time 10s --conf spark.executor.instances=8 --conf spark.executor.cores=4

sparksim submit --help lists the flags.
`

// exitUsage is the exit code for a command line that makes no sense; failures exit with 1.
const exitUsage = 2

// submitters is how many applications are submitted at the same time.
const submitters = 16

// errUsage means that the reason was printed already.
var errUsage = errors.New("wrong usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp), ctx.Err() != nil:
	case errors.Is(err, errUsage):
		os.Exit(exitUsage)
	case err != nil:
		fmt.Fprintf(os.Stderr, "sparksim: %v\n", err)
		os.Exit(1)
	}
}

// settings are the flags of both commands.
type settings struct {
	kubeconfig  string
	namespace   string
	startUp     time.Duration
	application sparksim.Application
	version     string
	template    string
	conf        properties
	count       int
	delay       time.Duration
	runTime     time.Duration
	play        bool
}

// properties collects --conf KEY=VALUE.
type properties map[string]string

func (p properties) String() string { return "" }

func (p properties) Set(text string) error {
	key, value, found := strings.Cut(text, "=")
	if !found || !strings.HasPrefix(key, "spark.") {
		return fmt.Errorf("%q: want a Spark setting such as spark.executor.cores=4", text)
	}
	p[key] = value
	return nil
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 || args[0] != "submit" && args[0] != "run" {
		fmt.Fprint(os.Stderr, usage)
		return errUsage
	}
	s := settings{conf: properties{}}
	flags := flag.NewFlagSet("sparksim "+args[0], flag.ContinueOnError)
	flags.StringVar(&s.kubeconfig, "kubeconfig", "bin/kubeconfig", "kubeconfig `file`")
	flags.DurationVar(&s.startUp, "start-up", 2*time.Second, "how long a driver's JVM takes to start")
	switch args[0] {
	case "run":
		flags.StringVar(&s.namespace, "namespace", "", "`namespace` of the drivers; empty means all")
	case "submit":
		flags.StringVar(&s.namespace, "namespace", "default", "`namespace` of the applications")
		flags.StringVar(&s.application.Name, "name", "app", "`name` of the application; with --count a number follows")
		flags.StringVar(&s.version, "spark-version", spark.Latest.String(), "`version` of the spark-submit that is played")
		flags.StringVar(&s.application.Language, "language", "java", "java, python or r")
		flags.StringVar(&s.template, "executor-template", "", "`file` with the executors' pod template")
		flags.Var(s.conf, "conf", "Spark setting `KEY=VALUE`; may be repeated")
		flags.IntVar(&s.count, "count", 1, "`number` of applications")
		flags.DurationVar(&s.delay, "configmap-delay", 0, "how much later than the driver its ConfigMap comes")
		flags.DurationVar(&s.runTime, "run-time", 0, "how long an application works with all its executors; 0 means until it is told to end")
		flags.BoolVar(&s.play, "play", false, "play drivers as well, and return when these applications have ended")
	}
	if err := flags.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "sparksim %s: unexpected argument %q\n", args[0], flags.Arg(0))
		return errUsage
	}
	client, err := connect(s.kubeconfig)
	if err != nil {
		return err
	}
	if args[0] == "run" {
		return runAll(ctx, client, s, out)
	}
	return submit(ctx, client, s, out)
}

func connect(kubeconfig string) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 2000, 4000 // requests a second: no limit but the API server's own
	config.ContentType = "application/vnd.kubernetes.protobuf"
	return kubernetes.NewForConfig(config)
}

// runAll plays drivers until the context ends, and tells what becomes of their applications.
func runAll(ctx context.Context, client kubernetes.Interface, s settings, out io.Writer) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	record, err := chronicle.Watch(ctx, client, clock.RealClock{})
	if err != nil {
		return err
	}
	of := "all namespaces"
	if s.namespace != v1.NamespaceAll {
		of = "namespace " + s.namespace
	}
	fmt.Fprintf(out, "playing the drivers of %s until interrupted\n", of)
	var player sync.WaitGroup
	var playErr error
	player.Go(func() {
		playErr = play(ctx, client, s)
		stop() // without a player there is nothing to tell
	})
	news := news{out: out, told: map[string]string{}}
	err = record.Await(ctx, func(all []chronicle.Application) bool {
		for _, a := range all {
			if s.namespace == v1.NamespaceAll || s.namespace == a.Namespace {
				news.tell(a)
			}
		}
		return false
	})
	stop()
	player.Wait()
	record.Close()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, playErr)
}

// news prints what becomes of applications, each change once.
type news struct {
	out  io.Writer
	told map[string]string // namespace/driver -> what was printed about it last
}

func (n *news) tell(a chronicle.Application) {
	key := a.Namespace + "/" + a.Driver
	if line := fate(a); line != n.told[key] {
		n.told[key] = line
		fmt.Fprintf(n.out, "%-32s %s\n", a.Namespace+"/"+a.Name, line)
	}
}

func play(ctx context.Context, client kubernetes.Interface, s settings) error {
	simulator, err := sparksim.New(sparksim.Config{Client: client, Clock: clock.RealClock{}, Namespace: s.namespace, StartUp: s.startUp})
	if err != nil {
		return err
	}
	return simulator.Run(ctx)
}

// prepare completes the application from the flags.
func (s *settings) prepare() error {
	var err error
	if s.application.Version, err = spark.ParseVersion(s.version); err != nil {
		return err
	}
	if s.template != "" {
		content, err := os.ReadFile(s.template)
		if err != nil {
			return fmt.Errorf("--executor-template: %w", err)
		}
		s.application.Template = string(content)
	}
	if s.count < 1 {
		return fmt.Errorf("--count %d: want at least 1", s.count)
	}
	if s.play && s.runTime <= 0 {
		return errors.New("--play needs a --run-time, such as 10s: nothing would end")
	}
	if s.runTime > 0 {
		s.conf["spark.kubernetes.driver.annotation."+sparksim.AnnotationRunTime] = s.runTime.String()
	}
	if _, given := s.conf["spark.kubernetes.scheduler.name"]; !given {
		s.conf["spark.kubernetes.scheduler.name"] = "retinue"
	}
	s.application.Namespace, s.application.Properties = s.namespace, s.conf
	return nil
}

func submit(ctx context.Context, client kubernetes.Interface, s settings, out io.Writer) error {
	if err := s.prepare(); err != nil {
		return err
	}
	submitter := sparksim.Submitter{Client: client, Clock: clock.RealClock{}, Delay: s.delay}
	var mu sync.Mutex         // guards everything below
	ours := map[string]bool{} // name of a driver -> it is one of these
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(submitters)
	for i := range s.count {
		application := s.application
		if s.count > 1 {
			application.Name = fmt.Sprintf("%s-%d", s.application.Name, i+1)
		}
		group.Go(func() error {
			driver, err := submitter.Submit(groupCtx, application)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			ours[driver.Name] = true
			fmt.Fprintf(out, "submitted %s as %s/%s\n", application.Name, driver.Namespace, driver.Name)
			return nil
		})
	}
	if err := group.Wait(); err != nil || !s.play {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	record, err := chronicle.Watch(ctx, client, clock.RealClock{})
	if err != nil {
		return err
	}
	var player sync.WaitGroup
	var playErr error
	player.Go(func() { playErr = play(ctx, client, s) })
	news := news{out: out, told: map[string]string{}}
	err = record.Await(ctx, func(all []chronicle.Application) bool {
		ended := 0
		for _, a := range all {
			if !ours[a.Driver] {
				continue
			}
			news.tell(a)
			if !a.Ended.IsZero() {
				ended++
			}
		}
		return ended == len(ours)
	})
	stop()
	player.Wait()
	record.Close()
	return errors.Join(err, playErr)
}

// fate is how an application is, in a few words that change only when something is worth telling.
func fate(a chronicle.Application) string {
	switch {
	case !a.Ended.IsZero():
		return fmt.Sprintf("ended: %s, with %d executors at most", a.Phase, a.MostRunning)
	case a.Node == "" && a.Reason == "":
		return "waits"
	case a.Node == "":
		return "waits: " + a.Reason
	case a.Refused > 0:
		return "half-started: its driver runs, and executors find no room"
	case a.Slots > 0 && a.Running >= a.Slots:
		return fmt.Sprintf("runs whole: driver on %s, %d executors", a.Node, a.Running)
	default:
		return "runs: driver on " + a.Node
	}
}
