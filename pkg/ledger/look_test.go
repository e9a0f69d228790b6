package ledger

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/utils/ptr"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/waiting"
)

// refused is an attempt that has failed for want of room.
func (c *cluster) refused(p Pod) {
	c.tell(PodSeen{p})
	c.tell(Refused{UID: p.UID, Epoch: c.View().Epoch, Verdict: gang.Verdict{Reason: gang.ClusterFull, Message: "no room"}})
}

// Two pods run, somebody of a higher priority comes, and more like the two after it: no more of them go than had to when it came.
//
// Seen failing when only the next tick looked: what was free beside the victims went to lower priorities, which had to leave as well.
func TestTheLookForVictimsDoesNotWaitForATick(t *testing.T) {
	c := &cluster{Ledger: New("", placement.Pack), t: t, now: start}
	c.tell(NodeSeen{newNode("a", 4)})
	c.tell(Synced{})
	for _, name := range []string{"low1", "low2"} {
		c.tell(PodSeen{c.pod("ns", name, 1, "a")})
	}
	high := c.pod("ns", "high", 3, "")
	high.Priority = 300
	c.refused(high)
	require.Len(t, c.evicted(), 1)
	assert.Equal(t, "0", c.free(), "what is free there is kept for it")
}

// What holds up the scheduling cycle is bounded, whatever is created; then the look is asked for.
//
// Seen failing when nothing counted the nodes and holders that were gone through.
func TestLooksHoldUpTheCycleForSoLongOnly(t *testing.T) {
	const nodes = 400
	c := &cluster{Ledger: New("", placement.Pack), t: t, now: start}
	for i := range nodes {
		c.tell(NodeSeen{newNode(fmt.Sprint("n", i), 4)})
		low := c.pod("ns", fmt.Sprint("low", i), 4, fmt.Sprint("n", i))
		low.Priority = 50
		c.tell(PodSeen{low})
	}
	c.tell(PodSeen{c.pod("ns", "lowest", 0, "n0")})
	c.tell(Synced{})
	asked := 0
	for i := range 2 * workAtOnce / nodes {
		c.said = nil
		high := c.pod("ns", fmt.Sprint("high", i), 4, "")
		high.Priority = 10 // may take the place of somebody, but of too little
		c.refused(high)
		for _, effect := range c.said {
			if _, looks := effect.(Look); looks {
				asked++
			}
		}
	}
	assert.Positive(t, asked)
	assert.LessOrEqual(t, c.victims.early, workAtOnce)
	looked := 0
	c.waiting.All()(func(w *waiting.Waiter) bool {
		if !w.Claimed.IsZero() {
			looked++
		}
		return true
	})
	assert.Positive(t, looked)
	assert.LessOrEqual(t, looked, plansAtOnce*workAtOnce/nodes)
	c.tell(Tick{})
	assert.Zero(t, c.victims.early)
}

// What pods leave that are going anyway is claimed by the first in turn that it suffices for, so that it does not go to whoever comes
// next: also after a restart, when nobody remembers for whom they had to go.
//
// Seen failing when what leaves was free for anybody.
func TestWhatIsLeavingIsClaimed(t *testing.T) {
	c := &cluster{Ledger: New("", placement.Pack), t: t, now: start}
	c.tell(NodeSeen{newNode("a", 4)})
	for _, name := range []string{"low1", "low2", "low3"} {
		c.tell(PodSeen{c.pod("ns", name, 1, "a")})
	}
	c.tell(Synced{})
	c.leave("low1")
	c.leave("low2")
	high := c.pod("ns", "high", 3, "")
	high.Priority = 100
	c.refused(high)
	assert.Empty(t, c.evicted())
	node, verdict := c.Nomination(high.UID)
	assert.Equal(t, "a", node)
	assert.Equal(t, "Reclaiming: takes back what others leave who are going already", verdict.String())
	c.ends("low1")
	c.refused(c.pod("ns", "again", 1, ""))
	assert.Equal(t, "0", c.free(), "it is kept for whoever claimed it")
	c.ends("low2")
	assert.Contains(t, show(c.said), "activate high")
}

// A gang counts as one until its leader has gone: where that is what another waits for, and the leader is leaving, nobody else has to go, whoever
// saw to it.
//
// Seen failing when only the amounts of who leaves were supposed to be free (seed 46001262 of test/sim): after a restart another gang had to go.
func TestAGangThatIsLeavingIsSupposedToHaveGone(t *testing.T) {
	for name, leaves := range map[string]bool{"its leader leaves": true, "it stays": false} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, "a", "b", "c")
			c.arrange(quota.Spec{Name: "own", MaxRunningGangs: ptr.To[int64](2)})
			c.runs("own", "young", 1, "a", "a")
			c.runs("own", "old", 1, "b", "b")
			if leaves {
				c.leave("young")
				c.leave("young0")
			}
			high := c.pod("own", "high", 1, "")
			high.Kind, high.Gang, high.Priority = Leader, gang.Key{Namespace: "own", Name: "high"}, 100
			c.tell(PodSeen{high})
			c.tell(Defined{high.UID, definition(1, 1)})
			verdict, _, _ := c.Gate(c.now, high)
			require.Equal(t, gang.QueueMaxGangs, verdict.Reason)
			c.pass(3 * time.Second)
			assert.Equal(t, !leaves, len(c.evicted()) > 0)
		})
	}
}

// Where gangs have to sit in one zone and nodes name none, that is nothing to a pod by itself: others leave for it, and room is collected.
//
// Seen failing when its plan had to lie in a zone: nobody left for a pod that was refused, whatever its priority, and it took nothing over.
func TestAPodByItselfNeedsNoZone(t *testing.T) {
	c := &cluster{Ledger: New("zone", placement.SingleZone), t: t, now: start}
	c.tell(NodeSeen{newNode("a", 4)})
	c.tell(PodSeen{c.pod("ns", "low", 3, "a")})
	c.tell(Synced{})
	like := c.pod("ns", "like", 3, "")
	c.refused(like)
	c.now = c.now.Add(time.Hour)
	c.tell(Tick{Collect: time.Minute})
	assert.Equal(t, "0", c.free(), "it is collected")
	high := c.pod("ns", "high", 3, "")
	high.Priority = 100
	c.refused(high)
	node, _ := c.Nomination(high.UID)
	assert.Equal(t, "a", node)
	assert.Equal(t, []string{"low"}, c.evicted())
}

// The same of a gang: after a restart it is not known at once what it asks for.
//
// Seen failing when whoever waits was let through as soon as everything had been told that existed.
func TestWhatIsLeavingIsClaimedByAGangThatFormsAfterARestart(t *testing.T) {
	for name, test := range map[string]struct {
		nominated string
		waits     time.Duration
		passes    bool // who comes next does
	}{
		"it is defined in a moment":  {"a", time.Second, false},
		"it is not defined for long": {"a", openingPatience, true},
		"others do not leave for it": {"", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := &cluster{Ledger: New("", placement.Pack), t: t, now: start}
			c.tell(NodeSeen{newNode("a", 4)})
			for _, name := range []string{"low1", "low2"} {
				c.tell(PodSeen{c.pod("ns", name, 2, "a")})
			}
			c.leave("low1")
			c.leave("low2")
			high := c.pod("ns", "high", 1, "")
			high.Kind, high.Gang, high.Priority = Leader, gang.Key{Namespace: "ns", Name: "high"}, 100
			high.Object.Status.NominatedNodeName = test.nominated
			c.tell(PodSeen{high})
			again := c.pod("ns", "again", 1, "")
			c.tell(PodSeen{again})
			c.tell(Synced{})
			c.ends("low1")
			c.now = c.now.Add(test.waits)
			c.tell(Tick{})
			verdict, _, _ := c.Gate(c.now, again)
			require.Equal(t, test.passes, verdict.Passes(), "%s", verdict)
			if test.passes {
				return
			}
			c.tell(Defined{high.UID, definition(2, 1)})
			c.tell(Tick{})
			c.fails(high) // who is the first in kube-scheduler's queue
			node, _ := c.Nomination(high.UID)
			require.Equal(t, "a", node)
			require.Equal(t, "0", c.free(), "what has been left already is kept as well")
		})
	}
}

// Seen failing when a pod on a node whose kubelet is dead kept everybody from taking something back.
func TestWhoDoesNotLeaveInTimeIsNotWaitedFor(t *testing.T) {
	c := &cluster{Ledger: New("", placement.Pack), t: t, now: start}
	for _, name := range []string{"a", "b"} {
		c.tell(NodeSeen{newNode(name, 4)})
		c.tell(PodSeen{c.pod("ns", "on-"+name, 4, name)})
	}
	c.tell(Synced{})
	c.leave("on-a")
	c.now = c.now.Add(2 * evictionPatience)
	high := c.pod("ns", "high", 3, "")
	high.Priority = 100
	c.refused(high)
	assert.Equal(t, []string{"on-b"}, c.evicted())
}
