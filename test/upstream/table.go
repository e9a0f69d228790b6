package upstream

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Row is what came of one package.
type Row struct {
	Package        string
	Without, With  Results
	Took, TookWith time.Duration
	// Unlisted are tests that were lost and are not in the list.
	Unlisted []string
	// Flaky are tests that were lost once and passed by themselves each time afterwards.
	Flaky []string
	// Stale are entries of the list that no longer fail.
	Stale []Entry
}

// Table is what came of all packages.
type Table []Row

// Print writes the table, and below it every test by name that needs a look.
func (t Table) Print(w io.Writer) {
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(columns, "package\ttests\tpass without\tpass with\tlost, listed\tlost, not listed\tflaky\twithout\twith")
	tests, without, with := 0, 0, 0
	for _, row := range t {
		lost := len(Lost(row.Without, row.With))
		fmt.Fprintf(columns, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", row.Package, len(row.Without.Leaves()), row.Without.Count(Passed), row.With.Count(Passed),
			lost-len(row.Unlisted)-len(row.Flaky), len(row.Unlisted), len(row.Flaky), row.Took.Round(time.Second), row.TookWith.Round(time.Second))
		tests, without, with = tests+len(row.Without.Leaves()), without+row.Without.Count(Passed), with+row.With.Count(Passed)
	}
	fmt.Fprintf(columns, "all\t%d\t%d\t%d\n", tests, without, with)
	columns.Flush()
	for _, row := range t {
		for _, test := range row.Flaky {
			fmt.Fprintf(w, "flaky: %s %s: passes by itself\n", row.Package, test)
		}
	}
}

// Verdict is an error that names every difference between what was lost and the list.
func (t Table) Verdict(list string) error {
	var wrong []string
	for _, row := range t {
		for _, test := range row.Unlisted {
			wrong = append(wrong, fmt.Sprintf("%s %s passes without Retinue and not with it", row.Package, test))
		}
		for _, entry := range row.Stale {
			wrong = append(wrong, fmt.Sprintf("%s %s passes with Retinue: take it out of %s", entry.Package, entry.Test, list))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return errors.New("the differences are not those that " + list + " lists:\n  " + strings.Join(wrong, "\n  "))
}
