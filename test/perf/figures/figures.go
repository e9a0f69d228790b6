// Package figures is how measurements are told: by the least, the median and the largest of several, in sections of a
// document, and held against the ranges in which they have to be.
package figures

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// Spread is what several runs have measured.
type Spread struct {
	Least  float64 `json:"least"`
	Median float64 `json:"median"`
	Most   float64 `json:"most"`
}

// SpreadOf values, of which there is at least one.
func SpreadOf(values []float64) Spread {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return Spread{Least: sorted[0], Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Most: sorted[n-1]}
}

// Format shows all three, as one when they look the same.
func (s Spread) Format(format string) string {
	least, median, most := fmt.Sprintf(format, s.Least), fmt.Sprintf(format, s.Median), fmt.Sprintf(format, s.Most)
	if least == most {
		return median
	}
	return least + "–" + median + "–" + most
}

// Percentile is the smallest of durations that at least the given part of them does not exceed; zero if there are none.
func Percentile(durations []time.Duration, part float64) time.Duration {
	if len(durations) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(durations))
	return sorted[max(0, int(math.Ceil(part*float64(len(sorted))))-1)]
}

// Range is where one ratio of Retinue to a baseline has to be.
type Range struct {
	Workload string `json:"workload"`
	Figure   string `json:"figure"`
	Baseline string `json:"baseline"`
	// AtLeast and AtMost are limits of the median; nil means none.
	AtLeast *float64 `json:"atLeast,omitempty"`
	AtMost  *float64 `json:"atMost,omitempty"`
	// Measured is what came out when the ranges were last written; nil means never.
	Measured *Spread `json:"measured,omitempty"`
}

// Key is what a range is about.
func (r Range) Key() Key { return Key{r.Workload, r.Figure, r.Baseline} }

// Key names a ratio.
type Key struct{ Workload, Figure, Baseline string }

func (k Key) String() string { return fmt.Sprintf("%s: %s to %s", k.Workload, k.Figure, k.Baseline) }

// ReadRanges reads a file of ranges.
func ReadRanges(file string) ([]Range, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var ranges []Range
	if err := yaml.UnmarshalStrict(text, &ranges); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return ranges, nil
}

// Outside lists what has been measured outside of its range, one sentence each. What was not measured is not judged.
func Outside(ranges []Range, measured map[Key]Spread) []string {
	var outside []string
	for _, r := range ranges {
		got, found := measured[r.Key()]
		switch {
		case !found:
		case r.AtLeast != nil && got.Median < *r.AtLeast:
			outside = append(outside, fmt.Sprintf("%s is %s, want at least %.2f", r.Key(), got.Format("%.2f"), *r.AtLeast))
		case r.AtMost != nil && got.Median > *r.AtMost:
			outside = append(outside, fmt.Sprintf("%s is %s, want at most %.2f", r.Key(), got.Format("%.2f"), *r.AtMost))
		}
	}
	return outside
}

// WriteMeasured writes what has been measured into a file of ranges, and leaves its limits and leading comment as they are.
func WriteMeasured(file string, measured map[Key]Spread) error {
	ranges, err := ReadRanges(file)
	if err != nil {
		return err
	}
	before, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var text strings.Builder
	for line := range strings.Lines(string(before)) {
		if !strings.HasPrefix(line, "#") {
			break
		}
		text.WriteString(line)
	}
	for _, r := range ranges {
		if got, found := measured[r.Key()]; found {
			r.Measured = &Spread{round(got.Least), round(got.Median), round(got.Most)}
		}
		fmt.Fprintf(&text, "- workload: %s\n  figure: %s\n  baseline: %s\n", r.Workload, r.Figure, r.Baseline)
		if r.AtLeast != nil {
			fmt.Fprintf(&text, "  atLeast: %v\n", *r.AtLeast)
		}
		if r.AtMost != nil {
			fmt.Fprintf(&text, "  atMost: %v\n", *r.AtMost)
		}
		if r.Measured != nil {
			fmt.Fprintf(&text, "  measured: {least: %v, median: %v, most: %v}\n", r.Measured.Least, r.Measured.Median, r.Measured.Most)
		}
	}
	return os.WriteFile(file, []byte(text.String()), 0o644)
}

// WriteTargets writes the ranges and what was measured into the section targets of a document.
func WriteTargets(document, file string) error {
	ranges, err := ReadRanges(file)
	if err != nil {
		return err
	}
	rows := [][]string{{"workload", "Retinue's", "to that of", "limit", "measured", ""}}
	for _, r := range ranges {
		limit, measured, verdict := "", "", ""
		if r.AtLeast != nil {
			limit = fmt.Sprintf("≥ %v", *r.AtLeast)
		}
		if r.AtMost != nil {
			limit = fmt.Sprintf("≤ %v", *r.AtMost)
		}
		if r.Measured != nil {
			measured = r.Measured.Format("%.2f")
			verdict = "holds"
			if len(Outside([]Range{r}, map[Key]Spread{r.Key(): *r.Measured})) > 0 {
				verdict = "**missed**"
			}
		}
		rows = append(rows, []string{r.Workload, r.Figure, r.Baseline, limit, measured, verdict})
	}
	return WriteSection(document, "targets", Table(rows))
}

func round(value float64) float64 { return math.Round(value*100) / 100 }

// WriteSection replaces a section of a Markdown document: what stands between the comments "begin NAME" and "end NAME".
func WriteSection(file, name, section string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	begin, end := fmt.Sprintf("<!-- begin %s -->\n", name), fmt.Sprintf("<!-- end %s -->\n", name)
	head, rest, found := strings.Cut(string(text), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !found || !closed {
		return fmt.Errorf("%s: no section between %q and %q", file, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(file, []byte(head+begin+section+end+tail), 0o644)
}

// Table is Markdown of rows; the first holds the names of the columns.
func Table(rows [][]string) string {
	var text strings.Builder
	for i, row := range rows {
		fmt.Fprintf(&text, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(&text, "|%s\n", strings.Repeat("---|", len(row)))
		}
	}
	return text.String()
}

// Origin is where and when figures come from: machine, versions, date.
func Origin(now time.Time) string {
	versions := []string{runtime.Version()}
	// Binaries do not know the versions of modules that they only start, nor tests those that they are built from.
	if kubernetes, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes").Output(); err == nil {
		versions = append(versions, "Kubernetes "+strings.TrimSpace(string(kubernetes)))
	}
	return fmt.Sprintf("%s, on %d processors (%s), %s of memory; %s.", now.UTC().Format("2 January 2006 15:04 UTC"), runtime.NumCPU(),
		field("/proc/cpuinfo", "model name", "of an unknown kind"), memory(), strings.Join(versions, ", "))
}

// field is the first value of a name in a file of "name : value" lines.
func field(file, name, otherwise string) string {
	opened, err := os.Open(file)
	if err != nil {
		return otherwise
	}
	defer opened.Close()
	for lines := bufio.NewScanner(opened); lines.Scan(); {
		if key, value, found := strings.Cut(lines.Text(), ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return otherwise
}

var kilobytes = regexp.MustCompile(`^(\d+) kB$`)

func memory() string {
	var amount int64
	if found := kilobytes.FindStringSubmatch(field("/proc/meminfo", "MemTotal", "")); found != nil {
		_, _ = fmt.Sscan(found[1], &amount)
	}
	return fmt.Sprintf("%d GiB", amount>>20)
}
