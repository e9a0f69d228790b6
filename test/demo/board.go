package main

import (
	"fmt"
	"strings"
	"time"

	"retinue.dev/retinue/test/sparksim/chronicle"
)

// board turns what was seen into a picture for a terminal, and into news for everything else.
type board struct {
	apps  []application
	style style
	told  map[string]string // application -> what the news said last
	index map[string]int    // application -> its index
}

func newBoard(apps []application, style style) *board {
	b := &board{apps: apps, style: style, told: map[string]string{}, index: map[string]int{}}
	for i, app := range apps {
		b.index[app.name] = i
	}
	return b
}

// marks: fate -> its sign at the beginning of a line.
var marks = map[fate]string{
	unseen: " ", waiting: "…", refused: "✗", starting: "▸", whole: "●", halfStarted: "!", done: "✓", failed: "✗",
}

// letter stands for an application in the picture of the nodes.
func letter(index int) string { return string(rune('a' + index)) }

// picture is the state of everything: the nodes and one line for every application.
func (b *board) picture(r result, nodes []chronicle.Node, passed time.Duration) []string {
	counts := map[fate]int{}
	lines := []string{"", b.nodes(nodes), b.style.dim("      application  executors CPU")}
	for i, app := range b.apps {
		seen := r.applications[i]
		fate := fateOf(seen, app.executors)
		counts[fate]++
		lines = append(lines, fmt.Sprintf("  %s %s %-12s %9d %3d  %s",
			b.style.of(fate, marks[fate]), b.style.app(i, letter(i)), app.name, app.executors, app.cpu(), b.style.of(fate, words(seen, app.executors))))
	}
	lines[0] = b.style.dim(fmt.Sprintf("  %4.0f s   %d whole, %d starting, %d half-started, %d waiting, %d done",
		passed.Seconds(), counts[whole], counts[starting], counts[halfStarted], counts[waiting]+counts[refused]+counts[unseen], counts[done]))
	return append(lines, b.style.dim("  The nodes: one sign for each CPU. A driver of a, a its executor, + kept for one to come, · free"))
}

// nodes is one line with a sign for each CPU.
func (b *board) nodes(nodes []chronicle.Node) string {
	var line strings.Builder
	for _, node := range nodes {
		line.WriteString("  " + b.style.dim(strings.TrimPrefix(node.Name, "node-00")) + " ")
		free := int(node.CPU / 1000)
		for _, seat := range node.Seat {
			width := min(free, int(seat.CPU/1000))
			free -= width
			line.WriteString(b.seat(seat, width))
		}
		line.WriteString(b.style.dim(strings.Repeat("·", free)))
	}
	return line.String()
}

// seat draws what one application has of a node.
func (b *board) seat(seat chronicle.Seat, width int) string {
	index, known := b.index[seat.Application]
	if !known {
		return strings.Repeat("?", width)
	}
	sign := letter(index)
	switch seat.Kind {
	case chronicle.Driver:
		sign = strings.ToUpper(sign)
	case chronicle.Kept:
		sign = "+"
	}
	return b.style.app(index, strings.Repeat(sign, width))
}

// news is one line for every application whose fate has changed since the last call.
func (b *board) news(r result, passed time.Duration) []string {
	var lines []string
	for i, app := range b.apps {
		seen := r.applications[i]
		fate := fateOf(seen, app.executors)
		// A reason's numbers change all the time; its code is news.
		topic := fmt.Sprint(fate, reasonCode(seen.Reason) != "" && fate == waiting)
		if fate == unseen || fate == waiting && seen.Reason == "" || topic == b.told[app.name] {
			continue
		}
		b.told[app.name] = topic
		lines = append(lines, fmt.Sprintf("  %5.1f s  %s %-12s %s", passed.Seconds(), b.style.of(fate, marks[fate]), app.name, words(seen, app.executors)))
	}
	return lines
}
