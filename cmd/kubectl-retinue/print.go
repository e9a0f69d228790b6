package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/yaml"
)

// The values of --output.
const (
	outputTable = "table"
	outputJSON  = "json"
	outputYAML  = "yaml"
)

var outputs = []string{outputTable, outputJSON, outputYAML}

func (o gangOptions) print(r report) error {
	switch o.output {
	case outputJSON:
		encoded, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(o.streams.Out, "%s\n", encoded)
		return err
	case outputYAML:
		encoded, err := yaml.Marshal(r)
		if err != nil {
			return err
		}
		_, err = o.streams.Out.Write(encoded)
		return err
	default:
		return printTable(o.streams.Out, r)
	}
}

// printTable writes one line per role, what binds its pods to nodes below them, and the warnings last.
func printTable(out io.Writer, r report) error {
	table := printers.GetNewTabWriter(out)
	fmt.Fprintln(table, "ROLE\tCOUNT\tMINIMUM\tMAXIMUM\tCPU\tMEMORY\tOTHER")
	row := func(role string, count, minimum int, maximum string, a amounts) {
		fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\t%s\t%s\n", role, count, minimum, maximum,
			dash(a[v1.ResourceCPU]), dash(a[v1.ResourceMemory]), dash(others(a)))
	}
	if len(r.Driver) > 0 {
		row("driver", 1, 1, "1", r.Driver)
	}
	for _, w := range r.Workers {
		maximum := "unlimited"
		if w.Maximum != nil {
			maximum = strconv.Itoa(*w.Maximum)
		}
		row(w.Role, w.Count, w.Minimum, maximum, w.Requests)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, w := range r.Workers {
		encoded, err := json.Marshal(w.Constraints)
		if err != nil {
			return err
		}
		if string(encoded) != "{}" {
			fmt.Fprintf(out, "%s constraints: %s\n", w.Role, encoded)
		}
	}
	fmt.Fprintf(out, "source: %s\n", r.Source)
	if r.SparkVersion != "" {
		fmt.Fprintf(out, "spark: version %s, language %s\n", r.SparkVersion, r.Language)
	}
	if r.Assumed != "" {
		fmt.Fprintf(out, "assumed of executors, because the driver has it: %s\n", r.Assumed)
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(out, "warning: %s\n", warning)
	}
	return nil
}

// others is every amount that has no column of its own.
func others(a amounts) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if name != v1.ResourceCPU && name != v1.ResourceMemory {
			parts = append(parts, string(name)+"="+a[name])
		}
	}
	return strings.Join(parts, ",")
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
