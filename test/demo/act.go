package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/test/sparksim"
	"retinue.dev/retinue/test/sparksim/chronicle"
)

const (
	// frame is the time between two pictures.
	frame = 100 * time.Millisecond
	// quiet is how long nothing may happen until an act counts as stuck.
	quiet = 15 * time.Second
	// longest bounds an act on a machine that is busy with other things.
	longest = 5 * time.Minute
	// submitters is how many users submit at the same time.
	submitters = 8
)

// act is the applications under one scheduler.
type act struct {
	scheduler string // "" means the default scheduler
	heading   string
	limit     time.Duration // after which the act is over whatever happens; 0 means that not to be over is an error
}

// result is what was seen of an act.
type result struct {
	applications []chronicle.Application // by index of the demo's applications
	overbooked   []string
	took         time.Duration
	stuck        bool // nothing happened any more, and no executor ran
	idleCPU      int  // at the end: CPUs of drivers none of whose executors runs
}

// play submits the applications, shows what becomes of them and leaves an empty cluster.
func (a act) play(ctx context.Context, client kubernetes.Interface, screen *screen, apps []application) (result, error) {
	screen.heading(a.heading)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	record, err := chronicle.Watch(ctx, client, clock.RealClock{})
	if err != nil {
		return result{}, err
	}
	simulator, err := sparksim.New(sparksim.Config{Client: client, Clock: clock.RealClock{}, StartUp: startUp})
	if err != nil {
		return result{}, err
	}
	var running sync.WaitGroup
	var simulation error
	running.Go(func() { simulation = simulator.Run(ctx) })
	defer func() {
		stop()
		running.Wait()
		record.Close()
	}()

	began := time.Now()
	if err := submit(ctx, client, a.scheduler, apps); err != nil {
		return result{}, err
	}
	board := newBoard(apps, screen.style)
	outcome, err := a.watch(ctx, record, screen, board, began)
	if err != nil {
		return result{}, err
	}
	if err := clear(ctx, client); err != nil {
		return result{}, err
	}
	stop()
	running.Wait()
	return outcome, simulation
}

// watch draws until the act is over: everything that can end has ended, or nothing moves any more.
func (a act) watch(ctx context.Context, record *chronicle.Chronicle, screen *screen, board *board, began time.Time) (result, error) {
	ticker := time.NewTicker(frame)
	defer ticker.Stop()
	last, moved := "", time.Now()
	for {
		now := time.Now()
		outcome := result{applications: byName(board.apps, record.Applications()), overbooked: record.Overbooked(), took: now.Sub(began)}
		screen.draw(board.picture(outcome, record.Nodes(), now.Sub(began)), board.news(outcome, now.Sub(began)))
		if fingerprint := fmt.Sprint(outcome.applications); fingerprint != last {
			last, moved = fingerprint, now
		}
		outcome.idleCPU = idleCPU(outcome.applications)
		outcome.stuck = a.limit > 0 && now.Sub(moved) >= quiet && deadlocked(outcome.applications)
		switch {
		case outcome.stuck:
			screen.keep()
			screen.note(fmt.Sprintf("Deadlock: for %.0f s nothing has moved. Drivers that wait for executors hold %d of %d CPUs.", quiet.Seconds(), outcome.idleCPU, nodes*nodeCPU))
			return outcome, nil
		case a.over(outcome, board.apps), a.limit > 0 && outcome.took > a.limit:
			screen.keep()
			return outcome, nil
		case outcome.took > longest:
			screen.keep()
			return outcome, fmt.Errorf("%s: not over after %s", a.heading, longest)
		}
		select {
		case <-ctx.Done():
			return outcome, ctx.Err()
		case <-ticker.C:
		}
	}
}

// over tells whether all applications that fit have ended, and the others have been told that they never will.
func (a act) over(r result, apps []application) bool {
	for i, app := range apps {
		seen := r.applications[i]
		if app.fits() && seen.Ended.IsZero() || !app.fits() && reasonCode(seen.Reason) == "" {
			return false
		}
	}
	return true
}

// deadlocked tells whether drivers wait for executors that find no room, and no executor runs that could end.
func deadlocked(all []chronicle.Application) bool {
	refused := 0
	for _, a := range all {
		if a.Running > 0 {
			return false
		}
		refused += a.Refused
	}
	return refused > 0
}

func idleCPU(all []chronicle.Application) int {
	idle := 0
	for _, a := range all {
		if a.Holding() && a.Running == 0 {
			idle += podCPU
		}
	}
	return idle
}

// byName sorts what was seen as the applications of the demo are; those not seen yet are empty.
func byName(apps []application, seen []chronicle.Application) []chronicle.Application {
	sorted := make([]chronicle.Application, len(apps))
	for i, app := range apps {
		sorted[i].Name = app.name
		for _, a := range seen {
			if a.Name == app.name {
				sorted[i] = a
			}
		}
	}
	return sorted
}

// submit is several users who submit at the same time.
func submit(ctx context.Context, client kubernetes.Interface, scheduler string, apps []application) error {
	submitter := sparksim.Submitter{Client: client, Clock: clock.RealClock{}}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(submitters)
	for _, app := range apps {
		group.Go(func() error {
			_, err := submitter.Submit(ctx, app.spark(scheduler))
			return err
		})
	}
	return group.Wait()
}

// clear deletes all pods; what the drivers own goes with them.
func clear(ctx context.Context, client kubernetes.Interface) error {
	pods := client.CoreV1().Pods(v1.NamespaceDefault)
	err := wait.PollUntilContextTimeout(ctx, frame, time.Minute, true, func(ctx context.Context) (bool, error) {
		if err := pods.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
			return false, err
		}
		list, err := pods.List(ctx, metav1.ListOptions{Limit: 1})
		return err == nil && len(list.Items) == 0, err
	})
	if err != nil {
		return errors.Join(errors.New("delete the applications"), err)
	}
	return nil
}
