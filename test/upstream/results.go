package upstream

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Outcome of one test in one run.
type Outcome string

const (
	Passed  Outcome = "pass"
	Failed  Outcome = "fail"
	Skipped Outcome = "skip"
	// Absent means that the test neither passed nor failed: it was not reached, or had not ended when the run did.
	Absent Outcome = "absent"
)

// Results are the outcomes of one package's tests; name of a test, with those of the tests around it -> outcome.
type Results map[string]Outcome

// ReadResults reads what `go tool test2json` writes. Tests that had not ended are Absent.
func ReadResults(r io.Reader) (Results, error) {
	results := Results{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20) // bytes; a line holds one line of a test's output
	for lines.Scan() {
		var event struct{ Action, Test string }
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return nil, fmt.Errorf("line %q: %w", lines.Text(), err)
		}
		if event.Test == "" {
			continue
		}
		switch event.Action {
		case "run":
			results[event.Test] = Absent
		case "pass", "fail", "skip":
			results[event.Test] = Outcome(event.Action)
		}
	}
	return results, lines.Err()
}

// Leaves are the tests that contain no others, in order of their names.
func (r Results) Leaves() []string {
	parents := map[string]bool{}
	for name := range r {
		for at, c := range name {
			if c == '/' {
				parents[name[:at]] = true
			}
		}
	}
	var leaves []string
	for name := range r {
		if !parents[name] {
			leaves = append(leaves, name)
		}
	}
	slices.Sort(leaves)
	return leaves
}

// Of is the outcome of a test; Absent where the run does not know it.
func (r Results) Of(test string) Outcome {
	if outcome, known := r[test]; known {
		return outcome
	}
	return Absent
}

// Count of the leaves that had the outcome.
func (r Results) Count(outcome Outcome) int {
	n := 0
	for _, leaf := range r.Leaves() {
		if r[leaf] == outcome {
			n++
		}
	}
	return n
}

// Lost are the leaves that passed in the run without and did not pass in the run with.
func Lost(without, with Results) []string {
	return slices.DeleteFunc(without.Leaves(), func(leaf string) bool {
		return without[leaf] != Passed || with.Of(leaf) == Passed
	})
}

// Besides are the results, and those of another run for tests that the results know nothing of, except those within a test that
// they do know.
func (r Results) Besides(other Results) Results {
	all := maps.Clone(r)
	for name, outcome := range other {
		top, _, _ := strings.Cut(name, "/")
		if _, known := r[top]; !known {
			all[name] = outcome
		}
	}
	return all
}

// Pattern selects tests by name for the flag -test.run.
func Pattern(test string) string {
	parts := strings.Split(test, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts, "/")
}
