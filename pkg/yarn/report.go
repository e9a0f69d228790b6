package yarn

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Outcome is what became of a setting.
type Outcome string

const (
	// Carried over: it means here what it meant there.
	Carried Outcome = "carried over"
	// Changed: something else stands for it, and the report says what differs.
	Changed Outcome = "changed"
	// Lost: it has no place here.
	Lost Outcome = "no place here"
)

// outcomes in the order of the report, from the best to the worst.
var outcomes = []Outcome{Carried, Changed, Lost}

// Line of a report.
type Line struct {
	// Setting is a property, or the path of an element.
	Setting string
	// Value as the file says it.
	Value   string
	Outcome Outcome
	// Says what became of it and why.
	Says string
}

// Report names every setting of a file once.
type Report struct {
	// Lines in the order of the file.
	Lines []Line
	// Notes are about what the file does not say.
	Notes []string
}

// settings are what a file says, by name, and what became of each.
type settings struct {
	values map[string]string // name -> value
	order  []string          // names, as in the file
	fates  map[string]fate   // name -> what became of it
	notes  []string
}

type fate struct {
	outcome Outcome
	says    []string
}

func newSettings() *settings {
	return &settings{values: map[string]string{}, fates: map[string]fate{}}
}

func (s *settings) put(name, value string) {
	if _, twice := s.values[name]; !twice {
		s.order = append(s.order, name)
	}
	s.values[name] = value
}

// note says what became of a setting. Of several outcomes the worst counts, and all is said. A setting that the file does not have
// is not spoken of.
func (s *settings) note(name string, outcome Outcome, says string, args ...any) {
	if _, there := s.values[name]; !there {
		return
	}
	f := s.fates[name]
	if slices.Index(outcomes, outcome) > slices.Index(outcomes, f.outcome) {
		f.outcome = outcome
	}
	if text := fmt.Sprintf(says, args...); text != "" && !slices.Contains(f.says, text) {
		f.says = append(f.says, text)
	}
	s.fates[name] = f
}

// remark adds a note about what the file does not say.
func (s *settings) remark(text string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(text, args...))
}

// report of all settings; those of which nothing is known are lost.
func (s *settings) report(unknown string) Report {
	r := Report{Notes: s.notes}
	for _, name := range s.order {
		f, known := s.fates[name]
		if !known {
			f = fate{Lost, []string{unknown}}
		}
		r.Lines = append(r.Lines, Line{Setting: name, Value: s.values[name], Outcome: f.outcome, Says: strings.Join(f.says, "; ")})
	}
	return r
}

// Of are the lines of one outcome.
func (r Report) Of(outcome Outcome) []Line {
	return slices.DeleteFunc(slices.Clone(r.Lines), func(l Line) bool { return l.Outcome != outcome })
}

// Write prints the three lists, and the notes.
func (r Report) Write(out io.Writer) error {
	var b strings.Builder
	for _, outcome := range outcomes {
		lines := r.Of(outcome)
		fmt.Fprintf(&b, "%s (%d)\n", strings.ToUpper(string(outcome[:1]))+string(outcome[1:]), len(lines))
		for _, l := range lines {
			fmt.Fprintf(&b, "  %s = %s\n", l.Setting, printable(l.Value))
			if l.Says != "" {
				fmt.Fprintf(&b, "      %s\n", printable(l.Says))
			}
		}
	}
	if len(r.Notes) > 0 {
		fmt.Fprintln(&b, "Besides")
		for _, note := range r.Notes {
			fmt.Fprintf(&b, "  %s\n", printable(note))
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// maxLine is how many bytes of a text are printed in one line of the report.
const maxLine = 600

// printable is a text in one line, without what would command a terminal.
func printable(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, text)
	if len(text) > maxLine {
		text = strings.ToValidUTF8(text[:maxLine], "") + "…"
	}
	return text
}
