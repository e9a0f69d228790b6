package ledger

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/quota"
)

// crowd is a world in which time passes only when the test says so, with a scheduler that tries one pod after another.
type crowd struct {
	*world
	t      *testing.T
	active []types.UID // let through, in order
	tried  []types.UID // in order
}

func newCrowd(t *testing.T) *crowd {
	c := &crowd{world: newWorld(), t: t}
	c.tell(Synced{})
	return c
}

func (c *crowd) tell(event Event) {
	effects, _ := c.Apply(c.clock, judged(c.Ledger, event))
	c.perform(effects)
}

func (c *crowd) perform(effects []Effect) {
	for _, effect := range effects {
		if activated, is := effect.(Activate); is {
			c.enter(activated.Pod.UID)
		}
	}
}

// enter sends a pod through the Gate.
func (c *crowd) enter(uid types.UID) {
	p, exists := c.world.pods[uid]
	if !exists || p.Node != "" || c.assumed[uid] != "" {
		return
	}
	verdict, _, effects := c.Gate(c.clock, p)
	if verdict.Passes() {
		c.active = append(c.active, uid)
	}
	c.perform(effects)
}

// submit makes a gang wait for its first try.
func (c *crowd) submit(name string, leader int64, executors int, cpu int64) Pod {
	p := c.newPod(Leader, name, leader)
	c.world.pods[p.UID] = p
	c.tell(PodSeen{p})
	c.tell(Defined{p.UID, definition(executors, cpu)})
	return p
}

// occupy binds a pod by itself.
func (c *crowd) occupy(node string, cpu int64) Pod {
	p := c.newPod(Lone, "", cpu)
	p.Node = node
	c.world.pods[p.UID] = p
	c.tell(PodSeen{p})
	return p
}

func (c *crowd) vacate(p Pod) {
	delete(c.world.pods, p.UID)
	c.tell(PodGone{p.UID})
}

// attempt is one scheduling cycle, which takes so long; it is false when there is nobody to be tried.
func (c *crowd) attempt(takes time.Duration) bool {
	for len(c.active) > 0 {
		uid := c.active[0]
		c.active = c.active[1:]
		p, exists := c.world.pods[uid]
		if !exists || c.assumed[uid] != "" {
			continue
		}
		attempt, effects := c.Attempt(c.clock, uid, 4)
		c.perform(effects)
		c.clock = c.clock.Add(takes)
		c.end(p, attempt.View, attempt)
		return true
	}
	return false
}

func (c *crowd) end(p Pod, view *inventory.View, attempt Attempt) {
	verdict := attempt.Seats.Verdict
	if attempt.Gang {
		verdict = attempt.Demand.Verdict
	}
	if !verdict.Passes() {
		c.tell(Refused{UID: p.UID, Epoch: view.Epoch, Verdict: verdict})
		return
	}
	c.tried = append(c.tried, p.UID)
	node, slots, fits := c.plan(view, p, attempt.Demand)
	switch {
	case !fits:
		c.tell(Refused{UID: p.UID, Epoch: view.Epoch, Verdict: gang.Verdict{Reason: gang.Fragmented, Message: "no room"}})
	case attempt.Gang:
		c.assumed[p.UID] = node
		c.tell(Admitted{Leader: p.UID, Node: node, Slots: slots})
	default:
		c.assumed[p.UID] = node
		c.tell(Placed{p.UID, node})
	}
}

// rest lets everybody be tried who is to be tried.
func (c *crowd) rest() {
	for range 1000 {
		if !c.attempt(0) {
			return
		}
	}
	require.Fail(c.t, "the scheduler does not come to rest")
}

// Twenty gangs of different sizes wait in front and cannot fit, an answer takes 20 ms, and room comes back every 100 ms. A gang
// behind them that fits now starts within one pass.
//
// Seen failing when every room that came back let all be tried from the first on: in two minutes the gang behind was not tried.
func TestNobodyStarvesBehindThoseWhoFail(t *testing.T) {
	c := newCrowd(t)
	const nodes = 60
	var fillers []Pod
	for i := range nodes {
		name := fmt.Sprint("n", i)
		c.tell(NodeSeen{newNode(name, 4)})
		fillers = append(fillers, c.occupy(name, 1))
		c.occupy(name, 3)
	}
	for i := range 20 {
		c.submit(fmt.Sprint("large-", i), 1, 2+i, 2) // no node has two cores at once
	}
	little := c.submit("little", 1, 1, 1)
	c.rest()
	require.Empty(t, c.assumed)
	for _, filler := range fillers[1:] {
		c.vacate(filler)
	}
	began := c.clock
	last := fillers[0]
	for c.clock.Sub(began) < 2*time.Minute && c.assumed[little.UID] == "" {
		if !c.attempt(20 * time.Millisecond) {
			c.clock = c.clock.Add(20 * time.Millisecond)
		}
		if c.clock.Sub(began)%(100*time.Millisecond) == 0 {
			c.vacate(last)
			last = c.occupy("n0", 1)
		}
	}
	require.NotEmpty(t, c.assumed[little.UID], "it is not tried in two minutes")
	require.LessOrEqual(t, c.clock.Sub(began), 21*20*time.Millisecond, "one pass")
}

// A pod that a rule of another pod keeps off speaks for nobody else of its size, in whatever namespace.
//
// Seen failing when such a refusal was that of the signature.
func TestOneFailureSpeaksOnlyForWhatItIsTrueOf(t *testing.T) {
	for _, divided := range []bool{false, true} {
		t.Run(fmt.Sprint("with queues ", divided), func(t *testing.T) {
			c := newCrowd(t)
			if divided {
				c.tell(QueuesSeen{Queues{Specs: []quota.Spec{{Name: "q"}}, Namespaces: map[string]string{"ns": "q"}}})
			}
			c.tell(NodeSeen{newNode("a", 4)})
			c.tell(NodeSeen{newNode("b", 16)})
			filler := c.occupy("a", 4)
			c.occupy("b", 1)
			first := c.submit("first", 1, 2, 1)
			require.Equal(t, []types.UID{first.UID}, c.active)
			c.active = nil
			attempt, _ := c.Attempt(c.clock, first.UID, 4)
			// Node a is full, and b has a pod whose anti-affinity refuses the label of the first.
			c.tell(Refused{UID: first.UID, Epoch: attempt.View.Epoch, Verdict: gang.Verdict{Reason: gang.Fragmented, Message: "no room"}, Alone: true})
			c.active = nil
			second := c.submit("second", 1, 2, 1)
			require.Equal(t, []types.UID{second.UID}, c.active, "it asks for the same, and nobody knows that it would fail")
			c.rest()
			require.NotEmpty(t, c.assumed[second.UID])
			verdict, _, _ := c.Gate(c.clock, first)
			require.Equal(t, gang.Fragmented, verdict.Reason)
			c.tried = nil
			c.vacate(filler)
			c.rest()
			require.Equal(t, []types.UID{first.UID}, c.tried, "it is tried again when room comes back")
		})
	}
}

// Whoever was refused for something of which the ledger does not hear is tried again in time.
func TestWhoWasRefusedAloneIsTriedAgainInTime(t *testing.T) {
	c := newCrowd(t)
	c.tell(NodeSeen{newNode("a", 4)})
	p := c.submit("x", 1, 2, 1)
	c.active = nil
	attempt, _ := c.Attempt(c.clock, p.UID, 4)
	c.tell(Refused{UID: p.UID, Epoch: attempt.View.Epoch, Verdict: gang.Verdict{Reason: gang.ClusterFull, Message: "no room"}, Alone: true})
	c.clock = c.clock.Add(9 * time.Second)
	c.tell(Tick{})
	require.Empty(t, c.active)
	c.clock = c.clock.Add(6 * time.Second)
	c.tell(Tick{})
	require.Equal(t, []types.UID{p.UID}, c.active)
}

// A pod that is being deleted and held up by a finalizer does not wait, and costs nobody a turn.
//
// Seen failing when only the end of a pod ended its wait: each of five cost five seconds, again and again.
func TestAPodThatIsBeingDeletedDoesNotWait(t *testing.T) {
	c := newCrowd(t)
	c.tell(QueuesSeen{Queues{Specs: []quota.Spec{{Name: "q"}}, Namespaces: map[string]string{"ns": "q"}}})
	c.tell(NodeSeen{newNode("a", 4)})
	filler := c.occupy("a", 4)
	var doomed []Pod
	for i := range 5 {
		doomed = append(doomed, c.submit(fmt.Sprint("doomed-", i), 1, 1, 1+int64(i%2)))
	}
	little := c.submit("little", 1, 1, 1)
	c.rest()
	for _, p := range doomed {
		p.Object = p.Object.DeepCopy()
		p.Object.DeletionTimestamp = &metav1.Time{Time: c.clock}
		c.world.pods[p.UID] = p
		c.tell(PodSeen{p})
		verdict, _, _ := c.Gate(c.clock, p)
		require.Equal(t, gang.Terminating, verdict.Reason)
	}
	require.Equal(t, 1, c.Census().Waiting)
	c.vacate(filler)
	c.rest()
	require.NotEmpty(t, c.assumed[little.UID])
	require.Equal(t, little.UID, c.tried[len(c.tried)-1])
}

// An attempt that ends in an error of another plugin costs its waiter a pause, and the others nothing.
//
// Seen failing when Unplaced of a pod that had no node did nothing.
func TestAnAttemptThatEndsInAnErrorCostsItsWaiterOnly(t *testing.T) {
	c := newCrowd(t)
	c.tell(QueuesSeen{Queues{Specs: []quota.Spec{{Name: "q"}}, Namespaces: map[string]string{"ns": "q"}}})
	c.tell(NodeSeen{newNode("a", 8)})
	broken, little := c.submit("broken", 1, 1, 1), c.submit("little", 1, 1, 2)
	for pause := time.Second; pause <= 4*time.Second; pause *= 2 {
		require.Equal(t, broken.UID, c.active[0])
		c.active = c.active[1:]
		c.Attempt(c.clock, broken.UID, 4)
		c.tell(Unplaced{broken.UID})
		c.rest()
		require.NotEmpty(t, c.assumed[little.UID])
		c.clock = c.clock.Add(pause - time.Millisecond)
		c.tell(Tick{})
		require.Empty(t, c.active)
		c.clock = c.clock.Add(time.Millisecond)
		c.tell(Tick{})
	}
	c.rest()
	require.NotEmpty(t, c.assumed[broken.UID])
}

// Whoever is tried out of turn hears only that others go first; what those wait for is told it afterwards, although the reason
// stays the same.
//
// Not at once: kube-scheduler writes what came of the attempt, and would write over it.
//
// Seen failing when that was taken for all that is known: it was told "others go first" for as long as it waited; and when it was
// told at once.
func TestWhoeverHeardOnlyThatOthersGoFirstHearsWhyAsWell(t *testing.T) {
	c := newCrowd(t)
	c.tell(NodeSeen{newNode("n", 4)})
	c.occupy("n", 2)
	first := c.submit("first", 1, 2, 2)
	c.rest()
	second := c.submit("second", 1, 2, 2)
	require.Contains(t, c.tried, first.UID)

	attempt, _ := c.Attempt(c.clock, second.UID, 4)
	require.Equal(t, gang.BehindOthers, attempt.Demand.Verdict.Reason)
	c.tell(Refused{UID: second.UID, Epoch: attempt.View.Epoch, Verdict: gang.Verdict{Reason: gang.BehindOthers, Message: "others go first"}})
	effects, err := c.Apply(c.clock, Tick{Collect: time.Hour})
	require.NoError(t, err)
	tell := Tell{second.Object, gang.Verdict{Reason: gang.BehindOthers, Message: "behind 1 that wait for the same; the first: Fragmented: no room"}}
	require.Contains(t, effects, Effect(tell))
}
