package ledger

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/gang"
)

// TestNobodySleepsWhoFits: when nothing is on its way any more, nobody waits for room that is there.
//
// Seen failing when an attempt was judged by the epoch of its end instead of its start, when a shape that had failed
// in an older epoch was left out, when room of a lost slot did not open an epoch, and when next said that it was idle
// without having looked at every shape, when a slot that opened did not call those of its own who wait, when a pod that
// came woke nobody who seeks company, when nobody was tried any more for an up-front gang that had
// been called off, when where there are queues a pod of an up-front gang that was let through had to wait for its own turn,
// and when the others of the gang were let through while its queue kept it waiting.
func TestNobodySleepsWhoFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := drawCluster(t)
		for range q.drawEvents(t) {
			q.step(t)
		}
		q.settle(t)
		if len(q.collections.list) > 0 {
			return // room is free that is kept for the one who collects
		}
		view := q.View()
		q.each(func(p Pod, d Demand) {
			_, _, fits := q.plan(view, p, d)
			fits = fits && (p.Signature != sociable || q.company()) && q.allows(p, q.charges())
			require.False(t, fits, "%s %v waits although it fits", p.UID, p.Part)
			if p.Kind != Worker || q.members.gangs[p.Leader] == nil {
				return
			}
			q.members.gangs[p.Leader].OpenSlots(p.Role, func(slot gang.Slot) bool {
				i, homely := view.Index(slot.Node)
				require.False(t, homely && p.Requests.Fits(view.Free(i).Add(slot.Requests)), "%s waits although it has a slot on %s", p.UID, slot.Node)
				return true
			})
		})
	})
}

// TestEverybodyStartsWhenOthersEnd: what fits the empty cluster starts sooner or later, if what runs ends.
//
// Seen failing when a gang that had never fitted was not tried again after the nodes had changed.
func TestEverybodyStartsWhenOthersEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := drawCluster(t)
		for range q.drawEvents(t) {
			q.step(t)
		}
		for {
			q.settle(t)
			ended := 0
			for _, p := range sortedPods(slices.Collect(maps.Values(q.world.pods))) {
				if p.Node != "" {
					q.end(p.UID)
					ended++
				}
			}
			if ended == 0 {
				break
			}
		}
		view := q.View().Empty()
		q.each(func(p Pod, d Demand) {
			_, _, fits := q.plan(view, p, d)
			require.False(t, fits && p.Signature != sociable && q.allows(p, nil), "%s %v never starts", p.UID, p.Part)
		})
	})
}

// TestABigGangStartsThoughSmallOnesKeepComing: room is collected for it as they end. Without that, there is always one
// of them that fits what one before it has left.
//
// Seen failing when waits.tickCollection never began, and when room was kept only where a whole pod fits.
func TestABigGangStartsThoughSmallOnesKeepComing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newQueue()
		for _, name := range []string{"a", "b", "c"} {
			q.tell(NodeSeen{newNode(name, 4)})
		}
		fill := func() {
			for q.settle(t); ; q.settle(t) {
				small := q.newPod(Lone, "", rapid.Int64Range(1, 2).Draw(t, "cpu"))
				q.arrive(small)
				q.settle(t)
				if q.world.pods[small.UID].Node == "" {
					return
				}
			}
		}
		fill()
		var started func() bool
		if rapid.Bool().Draw(t, "up front") {
			q.tell(GroupSeen{Group{Key: groupKey("ns", "big"), Minimum: 6}})
			for range 6 {
				q.arrive(q.newMember("big", 2))
			}
			started = func() bool { return q.members.gangs["group:ns/podgroup/big"].Phase == gang.Running }
		} else {
			big := q.newPod(Leader, "big", 2)
			q.definitions[big.UID] = definition(5, 2)
			q.arrive(big)
			started = func() bool { return q.members.gangs[big.UID].Phase == gang.Running }
		}
		for range 100 {
			q.clock = q.clock.Add(time.Minute)
			q.tell(Tick{Collect: 5 * time.Minute})
			fill()
			if started() {
				return
			}
			if p, ok := q.pick(t, func(p Pod) bool { return p.Kind == Lone && p.Node != "" }, "small one"); ok {
				q.end(p.UID)
			}
			if rapid.IntRange(0, 9).Draw(t, "trouble") == 0 {
				node := newNode(drawNode.Draw(t, "node"), 4)
				node.Spec.Unschedulable = true
				q.tell(NodeSeen{node})
				q.settle(t)
				q.tell(NodeSeen{newNode(node.Name, 4)})
			}
		}
		require.Fail(t, "the big gang does not start")
	})
}

// TestWaitingCostsOneAttemptAnEpochAndShape, however many wait, besides the first one of each that comes.
//
// Seen failing when a gang that found its shape waiting was tried all the same.
func TestWaitingCostsOneAttemptAnEpochAndShape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newQueue()
		q.tell(NodeSeen{newNode("a", 4)})
		q.tell(NodeSeen{newNode("b", 4)})
		filler := q.newPod(Lone, "", 4)
		filler.Node = "a"
		q.arrive(filler)
		shapes := rapid.IntRange(1, 4).Draw(t, "shapes")
		for i := range rapid.IntRange(1, 20).Draw(t, "gangs") {
			p := q.newPod(Leader, string(rune('a'+i)), 1)
			q.definitions[p.UID] = definition(4+i%shapes, 1) // four are free on b
			q.arrive(p)
			q.settle(t)
		}
		total := func() (n int) {
			for _, attempts := range q.attempts {
				n += attempts
			}
			return n
		}
		require.LessOrEqual(t, total(), shapes)
		before := total()
		lone := q.newPod(Lone, "", 1)
		lone.Node = "b"
		q.arrive(lone)
		q.end(lone.UID) // an epoch in which nothing fits
		q.settle(t)
		require.LessOrEqual(t, total()-before, shapes)
	})
}

// A gang that the framework's filters refused is tried again in time, for what the ledger does not hear of.
func TestARehearsalIsRepeatedInTime(t *testing.T) {
	q := newQueue()
	q.tell(NodeSeen{newNode("a", 4)})
	p := q.newPod(Leader, "x", 1)
	p.Signature = sociable
	q.definitions[p.UID] = definition(1, 1)
	q.arrive(p)
	q.settleNow(t)
	require.Equal(t, 1, q.attempts[p.UID])
	for range 3 {
		before := q.attempts[p.UID]
		q.clock = q.clock.Add(retries / 2)
		q.tell(Tick{Unclaimed: time.Hour})
		q.settleNow(t)
		require.Equal(t, before, q.attempts[p.UID])
		q.clock = q.clock.Add(retries / 2)
		q.tell(Tick{Unclaimed: time.Hour})
		q.settleNow(t)
		require.Equal(t, before+1, q.attempts[p.UID])
	}
}

// Those who are rehearsed in vain, again and again, must not keep the scheduler from everybody else.
//
// Seen failing when next did not look at how long a rehearsal took, and when it said that it was idle meanwhile.
func TestALongRehearsalIsFollowedByARest(t *testing.T) {
	q := newQueue()
	q.tell(NodeSeen{newNode("a", 4)})
	p := q.newPod(Leader, "x", 1)
	q.definitions[p.UID] = definition(1, 1)
	q.arrive(p)
	q.define()
	fail := func() {
		q.take()
		require.Equal(t, p.UID, q.flying)
		q.flying = ""
		q.asleep[p.UID] = true
		q.tell(Refused{UID: p.UID, Epoch: q.View().Epoch, Verdict: gang.Verdict{Reason: gang.Constraints}, Rehearsed: true, Took: time.Second})
	}
	fail()
	q.tell(NodeSeen{newNode("b", 4)})
	require.Empty(t, q.active, "it rests, whatever happens")
	q.clock = q.clock.Add(19 * time.Second)
	q.tell(Tick{})
	require.Equal(t, []types.UID{p.UID}, q.active, "something has happened while it rested")
	fail()
	q.clock = q.clock.Add(retries)
	q.tell(Tick{})
	require.Empty(t, q.active, "it rests, however long ago it was")
	q.clock = q.clock.Add(19*time.Second - retries)
	q.tell(Tick{})
	require.Equal(t, []types.UID{p.UID}, q.active, "it has rested")
}

// Each kind of change wakes who seeks company, also when it happens while the first attempt is on its way; to those who
// lack room it is nothing.
//
// Seen failing when changed labels were no change, and when an epoch began only if somebody waited for it already.
func TestCompanyThatComesWakesWhoSeeksIt(t *testing.T) {
	changes := map[string]func(q *queue, resident Pod){
		"a pod of another scheduler comes": func(q *queue, _ Pod) {
			p := labelled(q.newPod(Lone, "", 1), true)
			p.Node = "a"
			q.arrive(p)
		},
		"a pod that runs is labelled": func(q *queue, resident Pod) {
			q.world.pods[resident.UID] = labelled(resident, true)
			q.tell(PodSeen{q.world.pods[resident.UID]})
		},
		"a pod is placed": func(q *queue, _ Pod) {
			p := labelled(q.newPod(Lone, "", 1), true)
			q.world.pods[p.UID], q.assumed[p.UID] = p, "a"
			q.gate(p)
			q.tell(Placed{p.UID, "a"})
		},
	}
	for name, change := range changes {
		for _, early := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", during the attempt ", early), func(t *testing.T) {
				q := newQueue()
				q.tell(NodeSeen{newNode("a", 8)})
				resident := q.newPod(Lone, "", 1)
				resident.Node = "a"
				q.arrive(resident)
				large := q.newPod(Leader, "large", 1)
				q.definitions[large.UID] = definition(9, 1)
				q.arrive(large)
				q.settle(t)
				seeker := q.newPod(Leader, "seeker", 1)
				seeker.Signature = sociable
				q.definitions[seeker.UID] = definition(2, 1)
				q.arrive(seeker)
				q.define()
				q.take()
				if !early {
					q.land(false)
					q.settle(t)
					require.Empty(t, q.assumed)
				}
				change(q, resident)
				q.settle(t)
				require.NotEmpty(t, q.world.pods[seeker.UID].Node)
				require.Equal(t, 1, q.attempts[large.UID])
			})
		}
	}
}
