package plugin

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/klog/v2/textlogger"
	"k8s.io/utils/clock"
)

// TestASchedulerThatCannotReadEverythingNamesWhatItWaitsFor in its log, again and again, until it knows; a quick one says nothing.
//
// Seen failing when nothing was logged: pods were kept at the Gate, and the process was ready.
func TestASchedulerThatCannotReadEverythingNamesWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &buffer{}
		var quotas atomic.Bool
		var r reading
		r.add("nodes", func() bool { return true })
		r.add("resourcequotas", quotas.Load)
		result := make(chan bool, 1)
		go func() {
			result <- r.await(t.Context(), clock.RealClock{}, textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(log))))
		}()
		pass(readingPatience - time.Second)
		require.Empty(t, log.String())
		pass(2 * time.Second)
		require.Contains(t, log.String(), `"No pod is let through: the cluster is still being read" missing=["resourcequotas"] waited="30s"`)
		pass(readingPatience)
		require.Equal(t, 2, strings.Count(log.String(), "\n"))
		quotas.Store(true)
		pass(2 * readingPatience)
		require.True(t, <-result)
		require.Equal(t, 2, strings.Count(log.String(), "\n"))

		ctx, cancel := context.WithCancel(t.Context())
		quotas.Store(false)
		go func() {
			result <- r.await(ctx, clock.RealClock{}, textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(log))))
		}()
		pass(time.Second)
		cancel()
		require.False(t, <-result)
	})
}
