// Command growth reads what go test -bench prints, passes it on, and adds how cost grows with work: for benchmarks whose names
// differ in the value of one parameter, such as nodes=5000, what ten times as much of it costs.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"retinue.dev/retinue/test/perf/figures"
)

func main() {
	record := flag.String("record", "", "document to write the table into, section benchmarks; none if empty")
	flag.Parse()
	rows, err := run(os.Stdin, os.Stdout)
	if err == nil && *record != "" {
		err = figures.WriteSection(*record, "benchmarks", figures.Origin(time.Now())+"\n\n"+figures.Table(rows))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "growth:", err)
		os.Exit(1)
	}
}

var (
	benchmark = regexp.MustCompile(`^(Benchmark\S+?)(?:-\d+)?\s+\d+\s+(\d[\d.]*) ns/op`)
	allocated = regexp.MustCompile(`(\d+) B/op`)
	parameter = regexp.MustCompile(`(\w+)=(\d+)`)
)

// point is one benchmark of a family, which differ in one parameter.
type point struct{ work, time, bytes float64 }

// run returns the rows of the table that it prints.
func run(in io.Reader, out io.Writer) ([][]string, error) {
	families := map[string][]point{} // name with * for the parameter -> points
	var order []string
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		line := lines.Text()
		fmt.Fprintln(out, line)
		found := benchmark.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		p := point{}
		p.time, _ = strconv.ParseFloat(found[2], 64)
		if bytes := allocated.FindStringSubmatch(line); bytes != nil {
			p.bytes, _ = strconv.ParseFloat(bytes[1], 64)
		}
		name := found[1]
		for _, at := range parameter.FindAllStringSubmatchIndex(name, -1) {
			p.work, _ = strconv.ParseFloat(name[at[4]:at[5]], 64)
			family := name[:at[4]] + "*" + name[at[5]:]
			if families[family] == nil {
				order = append(order, family)
			}
			families[family] = append(families[family], p)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	rows := [][]string{{"benchmark", "from", "to", "time", "bytes", "×10 costs time", "bytes"}}
	for _, family := range order {
		points := families[family]
		slices.SortFunc(points, func(a, b point) int { return int(a.work - b.work) })
		first, last := points[0], points[len(points)-1]
		if first.work == 0 || first.work == last.work {
			continue
		}
		rows = append(rows, []string{
			strings.TrimPrefix(family, "Benchmark"), fmt.Sprintf("%.0f", first.work), fmt.Sprintf("%.0f", last.work),
			fmt.Sprintf("%.0f → %.0f ns", first.time, last.time), fmt.Sprintf("%.0f → %.0f", first.bytes, last.bytes),
			tenfold(last.work/first.work, first.time, last.time), tenfold(last.work/first.work, first.bytes, last.bytes),
		})
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table)
	for _, row := range rows {
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	return rows, table.Flush()
}

// tenfold is by what cost is multiplied when work is multiplied by ten.
func tenfold(work, before, after float64) string {
	switch {
	case before == 0 && after == 0:
		return "none"
	case before == 0:
		return "from none"
	default:
		return fmt.Sprintf("×%.1f", math.Pow(10, math.Log(after/before)/math.Log(work)))
	}
}
