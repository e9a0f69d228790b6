package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// row is one trial and what it found.
type row struct {
	home     home
	testCase testCase
	outcome  outcome
	err      error // the trial could not be made
}

func (r *row) right() bool { return r.err == nil && len(r.outcome.differences) == 0 }

func (r *row) complaints() []string {
	if r.err != nil {
		return []string{r.err.Error()}
	}
	return r.outcome.differences
}

func (r *row) verdict() string {
	switch {
	case r.err != nil:
		first, _, _ := strings.Cut(r.err.Error(), "\n")
		return "FAILED: " + first
	case len(r.outcome.differences) > 0:
		return fmt.Sprintf("%d DIFFERENCES: %s", len(r.outcome.differences), r.outcome.differences[0])
	default:
		return "right: " + r.outcome.predicted
	}
}

// markdown is the table of all trials: a line per case and language, a column per version.
func markdown(rows []*row) string {
	var versions, lines []string
	cells := map[string]string{} // line and version -> cell
	for _, r := range rows {
		if !slices.Contains(versions, r.home.version) {
			versions = append(versions, r.home.version)
		}
		line := r.testCase.name + " | " + r.testCase.language()
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
		cell := r.outcome.predicted
		if !r.right() {
			cell = "**wrong**"
		}
		cells[line+r.home.version] = cell
	}
	var out strings.Builder
	fmt.Fprintf(&out, "| Case | Language | %s |\n", strings.Join(versions, " | "))
	fmt.Fprintf(&out, "|---|---|%s\n", strings.Repeat("---|", len(versions)))
	for _, line := range lines {
		fmt.Fprintf(&out, "| %s |", line)
		for _, version := range versions {
			cell, tried := cells[line+version]
			if !tried {
				cell = "–"
			}
			fmt.Fprintf(&out, " %s |", cell)
		}
		out.WriteString("\n")
	}
	return out.String()
}

// The table in the document stands between these lines.
const (
	tableBegin = "<!-- made by make e2e-inference UPDATE=1 -->\n"
	tableEnd   = "<!-- end -->\n"
)

func updateDocument(path, table string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(content), tableBegin)
	_, after, ended := strings.Cut(rest, tableEnd)
	if !found || !ended {
		return fmt.Errorf("%s has no lines %q and %q around its table", path, strings.TrimSpace(tableBegin), strings.TrimSpace(tableEnd))
	}
	return os.WriteFile(path, []byte(before+tableBegin+table+tableEnd+after), 0o644)
}
