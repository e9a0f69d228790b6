// Command demo shows in a minute or two what Retinue does: Spark applications that do not all fit, scheduled by it and by the default scheduler.
//
// It starts a cluster of its own with fake nodes, lets the same applications be submitted twice, once for each
// scheduler, and ends with exit code 0 only if everything it claims was seen.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/klog/v2"

	"retinue.dev/retinue/test/cluster"
)

// stopTimeout is how long the cluster may take to end.
const stopTimeout = time.Minute

func main() {
	plain := flag.Bool("plain", false, "print lines instead of drawing, also in a terminal")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	screen := newScreen(os.Stdout, *plain)
	err := demo(ctx, screen)
	screen.close()
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "demo: interrupted; everything it started has been stopped")
		stop()
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1)
	}
}

// demo shows both acts and what they amount to.
func demo(ctx context.Context, screen *screen) error {
	apps := applications()
	screen.title(fmt.Sprintf("%d Spark applications, %d nodes × %d CPU, two schedulers", len(apps), nodes, nodeCPU))
	retinue, standard, err := perform(ctx, screen, apps)
	if err != nil {
		return err
	}
	screen.lines(summary(retinue, standard, apps))
	if denied := claims(retinue, standard, apps); len(denied) > 0 {
		return errors.Join(denied...)
	}
	screen.lines(next())
	return nil
}

// perform plays both acts in a cluster that lives no longer than this call.
func perform(ctx context.Context, screen *screen, apps []application) (retinue, standard result, err error) {
	dir, err := os.MkdirTemp("", "retinue-demo-")
	if err != nil {
		return retinue, standard, err
	}
	defer func() {
		if err != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w\nthe logs are kept in %s", err, dir)
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	log, err := os.Create(filepath.Join(dir, "demo.log"))
	if err != nil {
		return retinue, standard, err
	}
	defer log.Close()
	klog.LogToStderr(false)
	klog.SetOutput(log)
	screen.note("Starting a cluster: API server, controllers, fake nodes, both schedulers.")
	began := time.Now()
	c, err := cluster.Start(ctx, cluster.Config{Dir: dir, Progress: screen.progress(), Components: []cluster.Component{
		cluster.Etcd, cluster.APIServer, cluster.ControllerManager, cluster.Kwok, cluster.Scheduler, cluster.DefaultScheduler,
	}})
	if err != nil {
		return retinue, standard, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		err = errors.Join(err, c.Stop(ctx))
		screen.note("The cluster is stopped; nothing is left running.")
	}()
	if err := c.EnsureNodes(ctx, cluster.Nodes{Count: nodes, CPU: fmt.Sprint(nodeCPU), Memory: nodeMemory}); err != nil {
		return retinue, standard, err
	}
	screen.note(fmt.Sprintf("The cluster is up after %.0f s. Everything in it is real Kubernetes, only nodes and drivers are played.", time.Since(began).Seconds()))

	first := act{scheduler: "retinue", heading: "1. Retinue: spark.kubernetes.scheduler.name=retinue"}
	if retinue, err = first.play(ctx, c.Client(), screen, apps); err != nil {
		return retinue, standard, err
	}
	second := act{heading: "2. The very same applications with the default scheduler", limit: max(retinue.took, 2*quiet)}
	standard, err = second.play(ctx, c.Client(), screen, apps)
	return retinue, standard, err
}
