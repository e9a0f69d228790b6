package ledger

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/quota"
)

// TestLongAnswersAreFoundWhileTheLedgerGoesOn: how queues stand, what they would share, and who has to go for whom are worked out of what
// was frozen while the lock was held, when it is held no more. The race detector (make race) sees whether they read what events change.
//
// Seen failing under it when what was frozen handed out the tree that it is of.
func TestLongAnswersAreFoundWhileTheLedgerGoesOn(t *testing.T) {
	c := newCluster(t, "a", "b")
	specs := func(i int) []quota.Spec {
		weight := int64(1 + i%3)
		return []quota.Spec{
			{Name: "own", Guaranteed: cpu(4), Reclaim: quota.Reclaim{Enabled: true, DryRun: true}}, // so that it goes on wanting it back
			{Name: "other", Weight: &weight},
		}
	}
	c.arrange(specs(0)...)
	c.runs("other", "x", 1, "a", "a", "a", "a", "b", "b", "b")
	c.victims.early = workAtOnce // nobody looks before the next tick
	c.waits("own", "y", 2)

	var answering sync.WaitGroup
	var planned, answered atomic.Bool
	answering.Go(func() {
		defer answered.Store(true)
		for i := range 200 {
			c.Queues()
			c.Shares()
			for _, effect := range c.Look(start.Add(time.Duration(i+1) * 2 * reclaimPause)) {
				if told, is := effect.(Tell); is && told.Verdict.Reason == gang.WouldReclaim {
					planned.Store(true)
				}
			}
		}
	})
	worker := c.members.pods["x3"].Pod
	for i := 0; !answered.Load(); i++ {
		name := fmt.Sprint("z", i)
		lone := c.pod("other", name, 1, "b")
		lone.User = fmt.Sprint("user", i%3)
		c.tell(PodSeen{lone})
		waiter := c.pod("own", name+"-waits", 4, "")
		waiter.User = lone.User
		c.tell(PodSeen{waiter})
		_, _, _ = c.Gate(c.now, waiter)
		worker.Ready = !worker.Ready
		c.tell(PodSeen{worker})
		c.tell(NodeSeen{newNode("c", int64(i%2))}) // what queues are guaranteed depends on it
		if i%10 == 0 {
			c.arrange(specs(i)...)
		}
		c.ends(name, name+"-waits")
		c.said = nil
	}
	answering.Wait()
	require.True(t, planned.Load(), "nothing was planned")
}
