package view

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Tone is how a cell is to be taken; it becomes a colour on a terminal.
type Tone int

const (
	Plain Tone = iota
	Good       // green
	Waits      // yellow
	Bad        // red
)

// codes of terminals, by Tone.
var codes = [...]string{Plain: "", Good: "\x1b[32m", Waits: "\x1b[33m", Bad: "\x1b[31m"}

const endOfColour = "\x1b[0m"

// Column is one of a table for people.
type Column[T any] struct {
	Name string
	// Wide columns are shown only where there is room.
	Wide bool
	Text func(T) string
	// Tone may be nil.
	Tone func(T) Tone
	// Passes means that it changes as time goes by, though nothing has happened.
	Passes bool
}

// Field is one value of an item for programs: a column of CSV, and what items are sorted by. Value is a string, an int64, a float64, a
// time.Duration, or nil where it is not known.
type Field[T any] struct {
	Name  string
	Value func(T) any
}

// Table is how items of a kind are shown.
type Table[T any] struct {
	Columns []Column[T]
	Fields  []Field[T]
	// Name is what an item is called by other commands, such as queue/etl.
	Name func(T) string
}

// Style is how a table is written.
type Style struct {
	Wide, NoHeaders, Colour bool
}

// Write writes a table for people, a line for each item.
func (t Table[T]) Write(out io.Writer, items []T, style Style) error {
	var columns []Column[T]
	for _, column := range t.Columns {
		if style.Wide || !column.Wide {
			columns = append(columns, column)
		}
	}
	var lines [][]string
	var tones [][]Tone
	if !style.NoHeaders {
		header := make([]string, len(columns))
		for i, column := range columns {
			header[i] = column.Name
		}
		lines, tones = append(lines, header), append(tones, make([]Tone, len(columns)))
	}
	for _, item := range items {
		line, tone := make([]string, len(columns)), make([]Tone, len(columns))
		for i, column := range columns {
			line[i] = column.Text(item)
			if column.Tone != nil && style.Colour {
				tone[i] = column.Tone(item)
			}
		}
		lines, tones = append(lines, line), append(tones, tone)
	}
	_, err := io.WriteString(out, aligned(lines, tones))
	return err
}

// Steady is an item as long as nothing happens to it.
func (t Table[T]) Steady(item T) string {
	var parts []string
	for _, column := range t.Columns {
		if !column.Passes {
			parts = append(parts, column.Text(item))
		}
	}
	return strings.Join(parts, "\t")
}

// gap is how far columns are apart.
const gap = 3

// aligned writes cells below each other. tones are as long as lines, or nil.
func aligned(lines [][]string, tones [][]Tone) string {
	var widths []int
	for _, line := range lines {
		for i, cell := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for l, line := range lines {
		for i, cell := range line {
			code := ""
			if tones != nil {
				code = codes[tones[l][i]]
			}
			b.WriteString(code)
			b.WriteString(cell)
			if code != "" {
				b.WriteString(endOfColour)
			}
			if i < len(line)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+gap))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// WriteCSV writes a line for each item.
func (t Table[T]) WriteCSV(out io.Writer, items []T, style Style) error {
	writer := csv.NewWriter(out)
	if !style.NoHeaders {
		header := make([]string, len(t.Fields))
		for i, field := range t.Fields {
			header[i] = field.Name
		}
		if err := writer.Write(header); err != nil {
			return err
		}
	}
	for _, item := range items {
		line := make([]string, len(t.Fields))
		for i, field := range t.Fields {
			line[i] = inCSV(field.Value(item))
		}
		if err := writer.Write(line); err != nil {
			return err
		}
	}
	writer.Flush()
	return writer.Error()
}

// inCSV is a value as a spreadsheet reads it: durations in seconds, and no text that it would take for a formula.
func inCSV(value any) string {
	switch value := value.(type) {
	case string:
		if value = Clean(value); value != "" && strings.ContainsRune("=+-@", rune(value[0])) {
			return "'" + value
		}
		return value
	case int64:
		return strconv.FormatInt(value, 10)
	case float64:
		return strconv.FormatFloat(value, 'f', -1, 64)
	case time.Duration:
		return strconv.FormatInt(int64(value/time.Second), 10)
	default:
		return ""
	}
}

// WriteNames writes what each item is called.
func (t Table[T]) WriteNames(out io.Writer, items []T) error {
	for _, item := range items {
		if _, err := fmt.Fprintln(out, t.Name(item)); err != nil {
			return err
		}
	}
	return nil
}

// FieldNames are what items can be sorted by.
func (t Table[T]) FieldNames() []string {
	var names []string
	for _, field := range t.Fields {
		names = append(names, field.Name)
	}
	return names
}

// Sort sorts items by a field, the smallest first, or the largest with a minus sign before its name. What is not known comes last.
func (t Table[T]) Sort(items []T, by string) error {
	name, downwards := strings.CutPrefix(by, "-")
	i := slices.IndexFunc(t.Fields, func(f Field[T]) bool { return strings.EqualFold(f.Name, name) })
	if i < 0 {
		return fmt.Errorf("want one of %s", strings.Join(t.FieldNames(), ", "))
	}
	value := t.Fields[i].Value
	slices.SortStableFunc(items, func(a, b T) int {
		x, y := value(a), value(b)
		switch {
		case x == nil || y == nil:
			return cmp.Compare(btoi(x == nil), btoi(y == nil))
		case downwards:
			return compare(y, x)
		default:
			return compare(x, y)
		}
	})
	return nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// compare compares two values of one field.
func compare(a, b any) int {
	switch a := a.(type) {
	case string:
		return cmp.Compare(a, b.(string))
	case int64:
		return cmp.Compare(a, b.(int64))
	case float64:
		return cmp.Compare(a, b.(float64))
	case time.Duration:
		return cmp.Compare(a, b.(time.Duration))
	}
	return 0
}
