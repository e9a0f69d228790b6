// Command walks counts how often one who reads the code from a function on comes back to a file that he has left.
//
// A walk is a reader who wants to know all that a function does. It starts at the function and goes to whatever function or method of
// the packages in pkg the source names next, reads that, and comes back and goes on. What it has read once it does not read again,
// but it goes there to see that it has. A function that is named and not called, as a comparison that is handed to a sort, is one
// more, and a function literal is read where it stands. Calls through interfaces and function values lead nowhere, because whoever
// reads there does not see what is called.
//
// A stay is a longest run of functions of one file that the walk reaches one after the other; a return is a stay in a file in which
// the walk has been before, so that returns are stays less files. Going back to the caller's file when the called function has been
// read is no stay.
//
// A package is a wall: whoever calls a function of another package has to know what it promises, and not how it keeps that. The walk
// that counts goes to such a function and does not read it. The last two columns are those of the walk that reads everything, so
// that it shows when a room has only got more doors.
//
//	walks                            the watched walks, with what they should be
//	walks -v lifecycle.lose    a walk from any function, as package.Function or Type.method, with every stay
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// watched are the walks that are counted by default -> how many returns are too many; zero means that nothing is wanted.
var watched = []struct {
	from    string
	toomany int
}{
	{"spark.Infer", 0},
	{"Ledger.arrangeLocked", 0}, // a Queue was edited
	{"lifecycle.lose", 40},
	{"Ledger.reclaimFor", 25}, // room is taken back
	{"gate.starting", 20},
}

func main() {
	verbose := flag.Bool("v", false, "print every stay")
	pattern := flag.String("packages", "retinue.dev/retinue/pkg/...", "packages that the walk does not leave")
	flag.Parse()
	if err := run(*pattern, *verbose, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "walks:", err)
		os.Exit(1)
	}
}

func run(pattern string, verbose bool, names []string) error {
	code, err := load(".", pattern)
	if err != nil {
		return err
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	row := func(cells ...any) {
		for _, cell := range cells {
			fmt.Fprint(out, cell, "\t")
		}
		fmt.Fprintln(out)
	}
	count := func(name, wanted string) error {
		from, err := code.find(name)
		if err != nil {
			return err
		}
		walk, across := code.from(from, false), code.from(from, true)
		row(name, walk.functions, walk.files(), len(walk.stays), walk.returns(), wanted, across.functions, across.returns())
		if verbose {
			for _, stay := range walk.stays {
				row("  "+stay.file, strings.Join(stay.functions, " "))
			}
		}
		return nil
	}
	row("from", "functions", "files", "stays", "returns", "wanted", "functions of all packages", "returns")
	if len(names) == 0 {
		for _, walk := range watched {
			wanted := ""
			if walk.toomany > 0 {
				wanted = fmt.Sprint("under ", walk.toomany)
			}
			if err := count(walk.from, wanted); err != nil {
				return fmt.Errorf("%w; if it was renamed, name it anew in test/walks", err)
			}
		}
	}
	for _, name := range names {
		if err := count(name, ""); err != nil {
			return err
		}
	}
	return out.Flush()
}

// walk is a reading of everything that a function does.
type walk struct {
	functions int
	stays     []stay // in order
}

// stay is a run of functions in one file.
type stay struct {
	file      string
	functions []string
}

// files that the walk enters.
func (w walk) files() int {
	var names []string
	for _, stay := range w.stays {
		names = append(names, stay.file)
	}
	slices.Sort(names)
	return len(slices.Compact(names))
}

// returns to files that the walk has left.
func (w walk) returns() int { return len(w.stays) - w.files() }
