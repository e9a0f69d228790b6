package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"retinue.dev/retinue/pkg/view"
)

// clearScreen is what a terminal understands.
const clearScreen = "\x1b[H\x1b[2J\x1b[3J"

func newTopCommand(streams genericiooptions.IOStreams) *cobra.Command {
	l := listing{shown: newShown(streams)}
	table := view.AppTable(true)
	command := &cobra.Command{
		Use:   "top",
		Short: "Show queues and applications live: those who wait first, then those who hold most.",
		Long: "Show queues and applications, anew with every change, as many lines as the terminal has: of all namespaces, or of one for whoever may\n" +
			"read no other. Whoever waits comes first, the longest wait before the others, then who holds most cores.",
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			r, err := connect(l.cluster)
			if err != nil {
				return err
			}
			if err := l.follow(command.Context(), r); err != nil {
				return err
			}
			return l.top(command.Context(), r, table)
		},
	}
	l.shown.add(command, nil)
	l.addInterval(command)
	return command
}

func (l listing) top(ctx context.Context, r *reader, table view.Table[view.App]) error {
	style := l.style()
	one := r.namespace
	for round := 1; ; round++ {
		r.namespace = metav1.NamespaceAll
		o, err := r.forApps(ctx)
		if apierrors.IsForbidden(err) {
			r.namespace = one
			o, err = r.forApps(ctx)
		}
		if err != nil {
			return err
		}
		var screen bytes.Buffer
		where := "all namespaces"
		if r.namespace != metav1.NamespaceAll {
			where = "namespace " + r.namespace
		}
		apps := view.Apps(o)
		waiting := busiest(apps)
		fmt.Fprintf(&screen, "%s  %s: %d applications, %d wait\n\n", o.Now.UTC().Format("15:04:05 UTC"), where, len(apps), waiting)
		if queues := view.Queues(o); len(queues) > 0 {
			if err := view.QueueTable().Write(&screen, queues, style); err != nil {
				return err
			}
			screen.WriteByte('\n')
		}
		if err := table.Write(&screen, apps, style); err != nil {
			return err
		}
		if err := l.draw(screen.String(), style.Colour); err != nil {
			return err
		}
		if round == l.rounds || !r.following.next(l.interval, true) {
			return nil
		}
	}
}

// busiest sorts applications, and counts those that wait.
func busiest(apps []view.App) (waiting int) {
	slices.SortStableFunc(apps, func(a, b view.App) int {
		if order := rank(a) - rank(b); order != 0 || rank(a) > 0 {
			return cmp.Or(order, b.Holds.Cpu().Cmp(*a.Holds.Cpu()))
		}
		return cmp.Compare(b.Wait, a.Wait)
	})
	for _, app := range apps {
		if app.State == view.Waiting {
			waiting++
		}
	}
	return waiting
}

// rank puts those who wait first, and those that have ended last.
func rank(app view.App) int {
	switch app.State {
	case view.Waiting:
		return 0
	case view.Finished, view.Failed:
		return 2
	default:
		return 1
	}
}

// draw writes one screen; a terminal is cleared before, and gets no more lines than it has.
func (l listing) draw(screen string, terminal bool) error {
	if terminal {
		if file, isFile := l.streams.Out.(interface{ Fd() uintptr }); isFile {
			if _, height, err := term.GetSize(int(file.Fd())); err == nil && height > 1 {
				lines := strings.SplitAfter(screen, "\n")
				screen = strings.Join(lines[:min(len(lines), height-1)], "")
			}
		}
		screen = clearScreen + screen
	} else {
		screen += "\n"
	}
	_, err := fmt.Fprint(l.streams.Out, screen)
	return err
}
