package sim

import (
	"fmt"

	"github.com/go-logr/logr"
)

// sink is the log of a replica: errors become lines of the trace, everything else is dropped.
type sink struct{ replica *replica }

var _ logr.LogSink = sink{}

func (s sink) Init(logr.RuntimeInfo)          {}
func (s sink) Enabled(int) bool               { return false }
func (s sink) Info(int, string, ...any)       {}
func (s sink) WithValues(...any) logr.LogSink { return s }
func (s sink) WithName(string) logr.LogSink   { return s }
func (s sink) Error(err error, text string, keysAndValues ...any) {
	s.replica.world.desk.note(note{replica: s.replica, text: fmt.Sprintf("logs %s: %v %v", text, err, keysAndValues)})
}
