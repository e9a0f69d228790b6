package upstream

import (
	"fmt"
	"slices"
	"strings"
)

// Entry is one line of the list of differences in docs/upstream.md.
type Entry struct {
	// Package below test/integration/scheduler; "." is that folder itself.
	Package string
	// Test by its whole name, or the beginning of names and "…" for all tests that begin so.
	Test string
	// Sometimes means that the test passes now and then.
	Sometimes bool
	// LeftOut means that the test is not run: it cannot end with Retinue.
	LeftOut bool
	Reason  string
}

// Covers says whether the entry speaks of the test.
func (e Entry) Covers(pkg, test string) bool {
	if e.Package != pkg {
		return false
	}
	beginning, several := strings.CutSuffix(e.Test, "…")
	return e.Test == test || several && strings.HasPrefix(test, beginning)
}

// ReadList reads the rows of the table beneath the heading of that name: package, test, when it fails (always, sometimes, or not run), reason.
func ReadList(text, heading string) ([]Entry, error) {
	_, section, found := strings.Cut(text, "\n## "+heading+"\n")
	if !found {
		return nil, fmt.Errorf("no heading %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var entries []Entry
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.ReplaceAll(line, `\|`, "\x00"), "|"), "|")
		if len(cells) != 4 {
			return nil, fmt.Errorf("row %q: want 4 cells, it has %d", line, len(cells))
		}
		for i := range cells {
			cells[i] = strings.ReplaceAll(strings.TrimSpace(cells[i]), "\x00", "|")
		}
		entry := Entry{Package: strings.Trim(cells[0], "`"), Test: strings.Trim(cells[1], "`"), Reason: cells[3]}
		switch cells[2] {
		case "always":
		case "sometimes":
			entry.Sometimes = true
		case "not run":
			entry.LeftOut = true
		default:
			return nil, fmt.Errorf("row %q: the third cell is %q, want always, sometimes or not run", line, cells[2])
		}
		if entry.Reason == "" {
			return nil, fmt.Errorf("row %q: no reason", line)
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

// LeftOut are patterns for the flag -test.skip, one for every entry of a package that is not run.
func LeftOut(list []Entry, pkg string) []string {
	var patterns []string
	for _, entry := range list {
		if entry.LeftOut && entry.Package == pkg {
			all, _ := strings.CutSuffix(entry.Test, "/…")
			patterns = append(patterns, Pattern(all))
		}
	}
	return patterns
}

// Unjudged are the tests of a package that no other contains and in which something has not passed that is not listed, in order of their
// names; never nil.
func Unjudged(list []Entry, pkg string, with Results) []string {
	unjudged := []string{}
	failing := map[string]bool{} // tests in which some other has not passed
	for _, leaf := range with.Leaves() {
		listed := slices.ContainsFunc(list, func(entry Entry) bool { return entry.Covers(pkg, leaf) })
		if with[leaf] == Passed || with[leaf] == Skipped {
			continue
		}
		top, _, _ := strings.Cut(leaf, "/")
		if failing[top] = true; !listed {
			unjudged = append(unjudged, top)
		}
	}
	for name, outcome := range with { // a test may end before it has reached all that is in it
		if !strings.Contains(name, "/") && !failing[name] && outcome != Passed && outcome != Skipped {
			unjudged = append(unjudged, name)
		}
	}
	slices.Sort(unjudged)
	return slices.Compact(unjudged)
}

// Judge compares what was lost with the list. Unlisted tests were lost without being listed; stale entries are those that no longer
// fail, which therefore have to leave the list. Only packages and tests that were run are judged.
func Judge(list []Entry, pkg string, without, with Results) (unlisted []string, stale []Entry) {
	lost := Lost(without, with)
	for _, test := range lost {
		listed := false
		for _, entry := range list {
			listed = listed || entry.Covers(pkg, test)
		}
		if !listed {
			unlisted = append(unlisted, test)
		}
	}
	for _, entry := range list {
		if entry.Sometimes || entry.LeftOut {
			continue
		}
		ran, fails := false, false
		for _, test := range without.Leaves() {
			if entry.Covers(pkg, test) && without[test] == Passed {
				ran = true
				fails = fails || with.Of(test) != Passed
			}
		}
		if ran && !fails {
			stale = append(stale, entry)
		}
	}
	return unlisted, stale
}
