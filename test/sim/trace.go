package sim

import (
	"fmt"
	"hash"
	"hash/fnv"
	"time"
)

// traceTail is how many lines of a trace are kept to be printed.
const traceTail = 400

// trace is what happened, line by line. The last lines are kept; all of them go into the sum, by which two runs of one
// seed are compared.
type trace struct {
	start time.Time
	lines []string // a ring once it is full
	count int
	sum   hash.Hash64
	// all is given every line; nil means that nobody reads them.
	all func(string)
}

func newTrace(start time.Time, all func(string)) *trace {
	return &trace{start: start, sum: fnv.New64a(), all: all}
}

func (t *trace) add(format string, args ...any) {
	line := fmt.Sprintf("%11.6f ", time.Since(t.start).Seconds()) + fmt.Sprintf(format, args...)
	_, _ = t.sum.Write([]byte(line))
	if len(t.lines) < traceTail {
		t.lines = append(t.lines, line)
	} else {
		t.lines[t.count%traceTail] = line
	}
	t.count++
	if t.all != nil {
		t.all(line)
	}
}

// tail is the last lines, the oldest first.
func (t *trace) tail() []string {
	if t.count <= traceTail {
		return t.lines
	}
	first := t.count % traceTail
	return append(append([]string(nil), t.lines[first:]...), t.lines[:first]...)
}
