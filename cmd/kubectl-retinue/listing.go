package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"retinue.dev/retinue/pkg/view"
)

// Values of --output beside table, json and yaml.
const (
	outputWide = "wide"
	outputName = "name"
	outputCSV  = "csv"
)

// pageOutputs are the outputs of commands that show one thing, listOutputs those of commands that show many.
var (
	pageOutputs = []string{outputJSON, outputYAML}
	listOutputs = []string{outputWide, outputJSON, outputYAML, outputName, outputCSV}
)

// shown are the flags that all commands have which show something of a cluster.
type shown struct {
	cluster *genericclioptions.ConfigFlags
	streams genericiooptions.IOStreams
	output  string
}

func newShown(streams genericiooptions.IOStreams) shown {
	return shown{cluster: genericclioptions.NewConfigFlags(true), streams: streams}
}

// add adds the flags to a command; outputs are those it knows.
func (s *shown) add(command *cobra.Command, outputs []string) {
	s.cluster.AddFlags(command.Flags())
	if outputs == nil {
		return
	}
	command.Flags().StringVarP(&s.output, "output", "o", "", strings.Join(outputs, ", ")+"; a table or a page by default")
	if err := command.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputs, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag has just been added
	}
	before := command.Args
	command.Args = func(command *cobra.Command, args []string) error {
		if s.output != "" && !slices.Contains(outputs, s.output) {
			return inputError{fmt.Errorf("--output=%q: want %s", s.output, strings.Join(outputs, ", "))}
		}
		if before != nil {
			return before(command, args)
		}
		return nil
	}
	completeNamespaces(command, s.cluster)
}

// style of what is written: colour only on a terminal.
func (s shown) style() view.Style {
	file, isFile := s.streams.Out.(interface{ Fd() uintptr })
	return view.Style{Wide: s.output == outputWide, Colour: isFile && term.IsTerminal(int(file.Fd()))}
}

// tell says what could not be seen, apart from the answer.
func (s shown) tell(unseen []string) {
	for _, sentence := range unseen {
		fmt.Fprintln(s.streams.ErrOut, "note:", sentence)
	}
}

// encode writes a document for programs.
func (s shown) encode(document any) error {
	if s.output == outputYAML {
		encoded, err := yaml.Marshal(document)
		if err != nil {
			return err
		}
		_, err = s.streams.Out.Write(encoded)
		return err
	}
	encoder := json.NewEncoder(s.streams.Out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(document)
}

// listing are the flags of a command that shows many of a kind.
type listing struct {
	shown
	sortBy    string
	noHeaders bool
	watch     bool
	interval  time.Duration
	// rounds is how often a watch shows what there is; 0 means for ever.
	rounds int
}

const (
	defaultInterval  = 5 * time.Second
	shortestInterval = time.Second
)

func (l *listing) add(command *cobra.Command, fields []string) {
	l.shown.add(command, listOutputs)
	flags := command.Flags()
	flags.StringVar(&l.sortBy, "sort-by", "", "sort by one of "+strings.Join(fields, ", ")+"; with a minus sign before it the largest first")
	flags.BoolVar(&l.noHeaders, "no-headers", false, "leave out the names of the columns")
	flags.BoolVarP(&l.watch, "watch", "w", false, "go on, and show every line again that has changed")
	l.addInterval(command)
	if err := command.RegisterFlagCompletionFunc("sort-by", cobra.FixedCompletions(fields, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag has just been added
	}
}

func (l *listing) addInterval(command *cobra.Command) {
	command.Flags().DurationVar(&l.interval, "interval", defaultInterval, "how often to look again at what may not be watched")
	command.Flags().IntVar(&l.rounds, "rounds", 0, "how often to show what there is; 0 means until interrupted")
}

// reading is what was read at one time: items, the document that holds them for programs, and what could not be seen.
type reading[T any] struct {
	items  []T
	kind   string // what a list of them is called
	unseen []string
}

// show writes a reading, and goes on with what has changed where that is asked for.
func show[T any](ctx context.Context, l listing, r *reader, table view.Table[T], read func(context.Context) (reading[T], error)) error {
	if l.watch {
		if err := l.follow(ctx, r); err != nil {
			return err
		}
	}
	style := l.style()
	style.NoHeaders = l.noHeaders
	before := map[string]string{} // name of an item -> its line
	told := map[string]bool{}
	for round := 1; ; round++ {
		got, err := read(ctx)
		if err != nil {
			return err
		}
		if l.sortBy != "" {
			if err := table.Sort(got.items, l.sortBy); err != nil {
				return inputError{fmt.Errorf("--sort-by=%q: %w", l.sortBy, err)}
			}
		}
		if l.watch {
			got.items = changed(table, got.items, before)
			got.unseen = append(slices.Clone(got.unseen), l.unwatched(r)...)
		}
		if len(got.items) > 0 || round == 1 {
			if err := writeReading(l.shown, table, got, style); err != nil {
				return err
			}
		}
		if l.output != outputJSON && l.output != outputYAML {
			got.unseen = slices.DeleteFunc(slices.Clone(got.unseen), func(sentence string) bool { return told[sentence] })
			l.tell(got.unseen)
			for _, sentence := range got.unseen {
				told[sentence] = true
			}
		}
		if !l.watch || round == l.rounds {
			return nil
		}
		style.NoHeaders = true
		if !r.following.next(l.interval, false) {
			return nil
		}
	}
}

// follow lets a command go on.
func (l listing) follow(ctx context.Context, r *reader) error {
	if l.interval < shortestInterval {
		return inputError{fmt.Errorf("--interval=%s: want at least %s", l.interval, shortestInterval)}
	}
	r.follow(ctx)
	return nil
}

// unwatched says what may not be watched.
func (l listing) unwatched(r *reader) (sentences []string) {
	forbidden, _ := r.following.unwatched()
	for _, what := range forbidden {
		sentences = append(sentences, fmt.Sprintf("you may not watch %s: they are looked at every %s", what, l.interval))
	}
	return sentences
}

// changed are the items whose line is another than before, apart from what changes as time goes by.
func changed[T any](table view.Table[T], items []T, before map[string]string) []T {
	var others []T
	for _, item := range items {
		name, line := table.Name(item), table.Steady(item)
		if former, there := before[name]; !there || former != line {
			others = append(others, item)
		}
		before[name] = line
	}
	return others
}

// writeReading writes one reading.
func writeReading[T any](s shown, table view.Table[T], r reading[T], style view.Style) error {
	switch s.output {
	case outputJSON, outputYAML:
		if r.items == nil {
			r.items = []T{}
		}
		return s.encode(map[string]any{r.kind: r.items, "unseen": append([]string{}, r.unseen...)})
	case outputCSV:
		return table.WriteCSV(s.streams.Out, r.items, style)
	case outputName:
		return table.WriteNames(s.streams.Out, r.items)
	}
	if len(r.items) == 0 {
		fmt.Fprintf(s.streams.ErrOut, "no %s\n", r.kind)
		return nil
	}
	return table.Write(s.streams.Out, r.items, style)
}

// page writes one thing: a document, or what its writer writes for people.
func (s shown) page(document any, unseen []string, write func(io.Writer, view.Style) error) error {
	if s.output == outputJSON || s.output == outputYAML {
		return s.encode(document)
	}
	var text bytes.Buffer
	if err := write(&text, s.style()); err != nil {
		return err
	}
	if _, err := s.streams.Out.Write(text.Bytes()); err != nil {
		return err
	}
	s.tell(unseen)
	return nil
}
