package ledger

import (
	"fmt"
	"slices"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/quota"
)

// scale is a large cluster for measuring.
type scale struct {
	*Ledger
	now    time.Time
	serial int
}

// newScale is a synced ledger with so many nodes of 16 cores.
func newScale(nodes int) *scale {
	s := &scale{Ledger: New("", placement.Pack), now: start}
	s.tell(Synced{})
	for i := range nodes {
		s.tell(NodeSeen{newNode(nodeName(i), 16)})
	}
	return s
}

func nodeName(i int) string { return fmt.Sprintf("node-%05d", i) }

func (s *scale) tell(event Event) {
	s.now = s.now.Add(time.Millisecond)
	if _, err := s.Apply(s.now, judged(s.Ledger, event)); err != nil {
		panic(err)
	}
}

func (s *scale) pod(kind Kind, app string, cpu int64) Pod {
	s.serial++
	uid := types.UID(fmt.Sprintf("00000000-0000-0000-0000-%012d", s.serial))
	p := Pod{
		UID: uid, Namespace: "ns", Requests: cores(cpu), Precedence: Precedence{Created: s.now}, Signature: "0123456789abcdef",
		Labels: map[string]string{"spark-app-selector": app, "spark-role": "executor", "spark-exec-id": "1", "spark-version": "4.1.0"},
		Object: &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: string(uid), UID: uid}},
	}
	p.Part = partOf(kind, "ns", app, "")
	return p
}

func sparkGang(app string, count int, cpu int64) gang.Definition {
	d := definition(count, cpu)
	d.Roles[0].Selector = map[string]string{"spark-app-selector": app, "spark-role": "executor"}
	d.Roles[0].Signature = "0123456789abcdef"
	return d
}

// run admits a gang with one-core slots, ten on each node from the given one on, and binds its leader.
func (s *scale) run(app string, workers, node int) Pod {
	leader := s.pod(Leader, app, 1)
	s.tell(PodSeen{leader})
	s.tell(Defined{leader.UID, sparkGang(app, workers, 1)})
	slots := make([]gang.Slot, workers)
	for i := range slots {
		slots[i] = gang.Slot{Node: nodeName(node + i/10), Requests: cores(1)}
	}
	s.tell(Admitted{Leader: leader.UID, Node: nodeName(node), Slots: slots})
	leader.Node, leader.Ready = nodeName(node), true
	s.tell(PodSeen{leader})
	return leader
}

// wait makes gangs wait that were tried and do not fit, of so many shapes.
func (s *scale) wait(gangs, shapes int) (leaders []Pod) {
	for i := range gangs {
		app := fmt.Sprint("waiting-", i)
		leader := s.pod(Leader, app, 1)
		s.tell(PodSeen{leader})
		s.tell(Defined{leader.UID, sparkGang(app, 100+i%shapes, 1000)})
		if verdict, _, _ := s.Gate(s.now, leader); verdict.Passes() {
			s.tell(Refused{UID: leader.UID, Epoch: s.View().Epoch, Verdict: gang.Verdict{Reason: gang.ClusterFull, Message: "no room"}})
		}
		leaders = append(leaders, leader)
	}
	return leaders
}

// BenchmarkExecutor is the life of an executor of a gang with 1,000 slots: seen, sent to its slot, assumed, bound,
// gone; on a cluster of so many nodes with 100 other gangs running and so many waiting.
func BenchmarkExecutor(b *testing.B) {
	for _, size := range []struct{ nodes, waiting int }{{1500, 0}, {5000, 0}, {15_000, 0}, {1500, 1000}, {1500, 10_000}} {
		b.Run(fmt.Sprintf("nodes=%d/waiting=%d", size.nodes, size.waiting), func(b *testing.B) {
			s := newScale(size.nodes)
			leader := s.run("large", 1000, 0)
			for i := range 100 {
				s.run(fmt.Sprint("app-", i), 100, 100+10*i)
			}
			s.wait(size.waiting, max(size.waiting, 1))
			p := s.pod(Worker, "large", 1)
			p.Leader = leader.UID
			b.ReportAllocs()
			for b.Loop() {
				p.Node = ""
				s.tell(PodSeen{p})
				s.View()
				seats := s.Seats(p.UID, 4)
				for node := range seats.Slots {
					p.Node = node
					break
				}
				s.tell(Placed{p.UID, p.Node})
				s.tell(PodSeen{p})
				s.tell(PodGone{p.UID})
			}
		})
	}
}

// BenchmarkView is a view after one node has changed, as in every scheduling cycle.
func BenchmarkView(b *testing.B) {
	for _, nodes := range []int{1500, 5000, 15_000, 150_000} {
		b.Run(fmt.Sprint("nodes=", nodes), func(b *testing.B) {
			s := newScale(nodes)
			p := s.pod(Lone, "", 1)
			p.Node = nodeName(7)
			b.ReportAllocs()
			for b.Loop() {
				s.tell(PodSeen{p})
				s.View()
				s.tell(PodGone{p.UID})
				s.View()
			}
		})
	}
}

// BenchmarkGate is a waiting gang at the Gate, which every event of its pod brings there again.
func BenchmarkGate(b *testing.B) {
	for _, waiting := range []int{1000, 10_000, 100_000} {
		for _, shapes := range []int{1, 1000} {
			b.Run(fmt.Sprintf("waiting=%d/shapes=%d", waiting, shapes), func(b *testing.B) {
				s := newScale(100)
				leaders := s.wait(waiting, shapes)
				i := 0
				b.ReportAllocs()
				for b.Loop() {
					if verdict, _, _ := s.Gate(s.now, leaders[i%waiting]); verdict.Passes() {
						b.Fatal("a waiting gang passes")
					}
					i++
				}
			})
		}
	}
}

// BenchmarkRoomComesBack is a lone pod that ends, so that the next waiter is sought, and one that takes its place.
// Nobody fits: every waiter has to be passed over.
func BenchmarkRoomComesBack(b *testing.B) {
	for _, size := range []struct{ waiting, shapes int }{{1000, 1}, {1000, 1000}, {10_000, 1}, {10_000, 10_000}, {100_000, 100_000}} {
		b.Run(fmt.Sprintf("waiting=%d/shapes=%d", size.waiting, size.shapes), func(b *testing.B) {
			s := newScale(100)
			s.wait(size.waiting, size.shapes)
			p := s.pod(Lone, "", 1)
			p.Node = nodeName(7)
			b.ReportAllocs()
			for b.Loop() {
				s.tell(PodSeen{p})
				s.tell(PodGone{p.UID})
			}
		})
	}
}

// BenchmarkTurns is room that comes back for everybody, and every shape tried and refused in turn, per attempt.
func BenchmarkTurns(b *testing.B) {
	for _, size := range []struct{ waiting, shapes int }{{1000, 1}, {1000, 1000}, {10_000, 1}, {10_000, 100}, {10_000, 10_000}} {
		b.Run(fmt.Sprintf("waiting=%d/shapes=%d", size.waiting, size.shapes), func(b *testing.B) {
			s := newScale(100)
			leaders := s.wait(size.waiting, size.shapes)
			huge := newNode("huge", 10_000_000)
			huge.Status.Allocatable[v1.ResourcePods] = apiresource.MustParse("1M")
			s.tell(NodeSeen{huge})
			byUID := map[types.UID]bool{}
			for _, leader := range leaders {
				byUID[leader.UID] = true
			}
			b.ReportAllocs()
			for b.Loop() {
				if len(s.waiting.Trying()) == 0 {
					b.StopTimer()
					p := s.pod(Lone, "", 1)
					p.Node = "huge"
					s.tell(PodSeen{p})
					s.tell(PodGone{p.UID})
					b.StartTimer()
				}
				if len(s.waiting.Trying()) == 0 || !byUID[s.waiting.Trying()[0].ID()] {
					b.Fatal("nobody is tried")
				}
				s.tell(Refused{UID: s.waiting.Trying()[0].ID(), Epoch: s.waiting.Epoch(), Verdict: gang.Verdict{Reason: gang.Fragmented, Message: "no room"}})
			}
		})
	}
}

// BenchmarkNodeLost is a node that is lost with ten slots on it and comes back, with so many gangs of 100 slots running.
func BenchmarkNodeLost(b *testing.B) {
	for _, gangs := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint("gangs=", gangs), func(b *testing.B) {
			s := newScale(15_000)
			for i := range gangs {
				s.run(fmt.Sprint("app-", i), 100, 10*i)
			}
			node := newNode(nodeName(0), 16) // the first, which the slots come back to
			away := node.DeepCopy()
			away.Spec.Unschedulable = true
			full := s.pod(Lone, "", 15)
			full.Node = nodeName(10 * gangs)
			s.tell(PodSeen{full})
			b.ReportAllocs()
			for b.Loop() {
				s.tell(NodeSeen{away})
				s.tell(NodeSeen{node})
				s.tell(NodeGone{nodeName(10 * gangs)})
				s.tell(NodeSeen{newNode(nodeName(10*gangs), 16)})
			}
		})
	}
}

// BenchmarkTick is time that passes, with so many gangs of 100 slots running.
func BenchmarkTick(b *testing.B) {
	for _, gangs := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint("gangs=", gangs), func(b *testing.B) {
			s := newScale(15_000)
			for i := range gangs {
				s.run(fmt.Sprint("app-", i), 100, 10*i)
			}
			b.ReportAllocs()
			for b.Loop() {
				s.tell(Tick{Unclaimed: time.Hour})
			}
		})
	}
}

// BenchmarkDegraded is a pod that comes and goes while so many slots have no home.
func BenchmarkDegraded(b *testing.B) {
	for _, homeless := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint("homeless=", homeless), func(b *testing.B) {
			s := newScale(5000)
			s.run("large", homeless, 0)
			for i := range 5000 {
				node := newNode(nodeName(i), 16)
				node.Spec.Unschedulable = true
				s.tell(NodeSeen{node})
			}
			p := s.pod(Lone, "", 1)
			p.Node = nodeName(4000)
			b.ReportAllocs()
			for b.Loop() {
				s.tell(PodSeen{p})
				s.tell(PodGone{p.UID})
			}
		})
	}
}

// BenchmarkRestart is everything that exists told to a new ledger: so many gangs of 100 executors that all run.
func BenchmarkRestart(b *testing.B) {
	for _, gangs := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint("gangs=", gangs), func(b *testing.B) {
			s := newScale(0)
			var events []Event
			for i := range gangs {
				app := fmt.Sprint("app-", i)
				leader := s.pod(Leader, app, 1)
				leader.Node = nodeName(10 * i)
				leader.Reservation = &Reservation{Definition: sparkGang(app, 100, 1)}
				for w := range 100 {
					node := nodeName(10*i + w/10)
					leader.Reservation.Slots = append(leader.Reservation.Slots, Run{Node: node, Count: 1})
					p := s.pod(Worker, app, 1)
					p.Leader, p.Node = leader.UID, node
					events = append(events, PodSeen{p})
				}
				events = append(events, PodSeen{leader})
			}
			for i := range 10 * gangs {
				events = append(events, NodeSeen{newNode(nodeName(i), 16)})
			}
			b.ReportAllocs()
			for b.Loop() {
				l := New("", placement.Pack)
				for _, event := range events {
					_, _ = l.Apply(start, event)
				}
				_, _ = l.Apply(start, Synced{})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(events)), "ns/event")
		})
	}
}

// BenchmarkReclaim is a tick in which a gang of 100 is looked at that may take back what others have borrowed, on nodes that
// are all taken by gangs of 100: enough of them to take, or nothing.
func BenchmarkReclaim(b *testing.B) {
	for _, nodes := range []int{500, 5000} {
		for name, guaranteed := range map[string]int64{"all they have": 16 * 5000, "nothing": 0} {
			b.Run(fmt.Sprintf("nodes=%d/guaranteed=%s", nodes, name), func(b *testing.B) {
				s := newScale(nodes)
				layout := Queues{Namespaces: map[string]string{"ns": "lent", "own": "own"}, Specs: []quota.Spec{
					{Name: "own", Guaranteed: cpu(2000), Reclaim: quota.Reclaim{Enabled: true}}, {Name: "lent", Guaranteed: cpu(guaranteed)},
				}}
				for i := range nodes / 10 {
					s.run(fmt.Sprint("app-", i), 100, 10*i)
					for j := range 100 {
						p := s.pod(Worker, fmt.Sprint("app-", i), 1)
						p.Node = nodeName(10*i + j/10)
						s.tell(PodSeen{p})
					}
				}
				s.tell(QueuesSeen{layout})
				leader := s.pod(Leader, "y", 16)
				leader.Namespace, leader.Gang.Namespace = "own", "own"
				s.tell(PodSeen{leader})
				s.tell(Defined{leader.UID, sparkGang("y", 100, 16)})
				s.Gate(s.now, leader)
				s.tell(Refused{UID: leader.UID, Epoch: s.View().Epoch, Verdict: gang.Verdict{Reason: gang.ClusterFull, Message: "no room"}})
				b.ReportAllocs()
				for b.Loop() {
					s.now = s.now.Add(reclaimPause)
					s.tell(Tick{})
					b.StopTimer()
					for _, c := range slices.Clone(s.collections.list) {
						s.waits.endCollection(c)
					}
					b.StartTimer()
				}
			})
		}
	}
}
