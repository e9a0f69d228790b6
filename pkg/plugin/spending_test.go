package plugin

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"retinue.dev/retinue/pkg/placement"
)

func TestTheShareOfANamespaceIsOfTheMinuteBeforeItsNextAnswer(t *testing.T) {
	var s spending
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	note := func(namespace string, end, took time.Duration, filtered bool) {
		s.note(namespace, &placement.Work{}, at.Add(end), took, filtered)
	}
	note("a", 6*time.Second, 6*time.Second, true)
	assert.Zero(t, s.most, "nobody was asked about before")
	note("b", 10*time.Second, 3*time.Second, true)
	assert.Zero(t, s.most, "others do not count")
	note("a", 30*time.Second, time.Millisecond, false)
	assert.Zero(t, s.most, "a cheap answer is none")
	note("a", 62*time.Second, 2*time.Second, true)
	assert.InDelta(t, 0.1, s.most, 1e-9)
	note("a", 64*time.Second, time.Second, false)
	assert.InDelta(t, 0.1, s.most, 1e-9, "half of the first is more than a minute ago")
	note("b", 10*time.Minute, 20*time.Millisecond, true)
	assert.Len(t, s.spells, 1, "nobody is remembered for longer than a minute")
}
