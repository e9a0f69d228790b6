package ledger

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/quota"
)

// protecting arranges two queues of which other protects who has just begun to run.
func (c *cluster) protecting(d time.Duration) {
	c.arrange(quota.Spec{Name: "own", Guaranteed: cpu(4), Reclaim: quota.Reclaim{Enabled: true}}, quota.Spec{Name: "other", Reclaim: quota.Reclaim{Protect: d}})
}

// bound is a pod that the API server has bound so long ago.
func (c *cluster) bound(namespace, name string, cpu int64, node string, ago time.Duration) {
	p := c.pod(namespace, name, cpu, node)
	p.Object.Status.Conditions = []v1.PodCondition{{Type: v1.PodScheduled, Status: v1.ConditionTrue, LastTransitionTime: metav1.NewTime(c.now.Add(-ago))}}
	c.tell(PodSeen{p})
}

// How long something has run is what the API server says: a scheduler that starts protects nobody anew, and does not take whoever began to
// run a moment before. Without its word it is since when the pod was first seen with its node.
//
// Seen failing when it was the pod's age, and when it was when the scheduler heard of it.
func TestARestartDoesNotChangeWhoIsProtected(t *testing.T) {
	c := newCluster(t, "a", "b")
	c.protecting(time.Minute)
	c.bound("other", "old", 4, "a", time.Hour)
	c.bound("other", "young", 4, "b", 30*time.Second)
	c.waits("own", "y", 1)
	require.Equal(t, []string{"old"}, c.evicted())

	c = newCluster(t, "a", "b")
	c.protecting(time.Minute)
	waited := c.pod("other", "waited", 4, "a")
	waited.Created = c.now.Add(-time.Hour)
	c.tell(PodSeen{waited})
	c.bound("other", "young", 4, "b", 30*time.Second)
	c.waits("own", "y", 1)
	require.Empty(t, c.evicted(), "nobody knows for how long it has run")
	c.pass(31 * time.Second)
	require.Equal(t, []string{"young"}, c.evicted())
}

// What is small goes without protection, and what is protected is told of once, not with every look.
//
// Seen failing when everything of a queue was protected, and when every look told it.
func TestProtectionIsOfWholesAndToldOnce(t *testing.T) {
	c := newCluster(t, "a", "b")
	c.protecting(time.Hour)
	c.runs("other", "x", 1, "a", "a", "a", "a", "b", "b", "b")
	c.waits("own", "small", 2)
	require.Equal(t, []string{"x5", "x4"}, c.evicted(), "expendable executors")

	c = newCluster(t, "a", "b")
	c.protecting(time.Hour)
	c.runs("other", "x", 6, "a", "a", "a", "a", "b", "b", "b")
	c.waits("own", "y", 2)
	c.pass(time.Minute)
	const until = "what others have borrowed is protected until 13:01 UTC on 2026-11-21"
	var told []string
	for _, effect := range c.said {
		if tell, tells := effect.(Tell); tells {
			told = append(told, tell.Verdict.Say(true))
		}
	}
	assert.Equal(t, []string{"ClusterFull: no room; " + until}, told)
	assert.Equal(t, until, c.Protection("y"))
	verdict, _, _ := c.Gate(c.now, c.Ledger.members.pods["y"].Pod)
	assert.Equal(t, "ClusterFull: no room; "+until, verdict.Say(true), "the Gate says it as well")

	c.said = nil
	c.protecting(0)
	c.pass(reclaimPause)
	assert.Len(t, c.evicted(), 7)
	assert.Empty(t, c.Protection("y"))
}
