package ledger

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/scaleup"
)

// BenchmarkScaleUp is a second in which a gang comes and is refused for want of nodes, where so many gangs and pods by themselves, in so many
// queues, wait for nodes as well. One gang is asked for, and the limit of the queue above all lets in no other besides it: everybody has to be
// looked at, and nobody is chosen. The longest time for which the lock was held is that of the thread on a processor, as in BenchmarkLockHolds.
func BenchmarkScaleUp(b *testing.B) {
	for _, size := range []struct{ gangs, pods, queues int }{{1000, 0, 100}, {10_000, 0, 1000}, {10_000, 2000, 1000}} {
		b.Run(fmt.Sprintf("gangs=%d/pods=%d/queues=%d", size.gangs, size.pods, size.queues), func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			defer debug.SetGCPercent(debug.SetGCPercent(-1))
			s := newScale(100)
			layout := Queues{Namespaces: map[string]string{}, Specs: []quota.Spec{{Name: "top", Limit: cpu(1500)}}}
			for i := range size.queues {
				name := fmt.Sprint("q", i)
				layout.Specs = append(layout.Specs, quota.Spec{Name: name, Parent: "top"})
				layout.Namespaces[name] = name
			}
			s.tell(QueuesSeen{layout})
			var taken, longest time.Duration
			watch := func(held bool) {
				if held {
					taken = threadTime()
				} else {
					longest = max(longest, threadTime()-taken)
				}
			}
			for i := range size.gangs {
				s.lack(Leader, fmt.Sprint("q", i%size.queues))
			}
			s.mu.watch = watch
			s.tell(Elastic{Limits: &scaleup.Limits{Timeout: time.Hour, PerQueue: 1, Total: 10}})
			for i := range size.pods {
				s.lack(Lone, fmt.Sprint("q", i%size.queues))
			}
			b.ReportAllocs()
			for b.Loop() {
				s.now = s.now.Add(time.Second)
				last := s.lack(Leader, "q0")
				s.tell(Tick{})
				s.tell(PodGone{last.UID})
			}
			if _, open, _ := s.scaleUps.requests.Len(); open != 1 || len(s.scaleUps.singles) != min(size.pods, singlesAtOnce) {
				b.Fatalf("%d requests are open, and %d pods followed", open, len(s.scaleUps.singles))
			}
			b.ReportMetric(float64(longest.Microseconds()), "longest-µs")
		})
	}
}

// lack lets a gang or a pod by itself wait that nodes have refused.
func (s *scale) lack(kind Kind, namespace string) Pod {
	p := s.pod(kind, fmt.Sprint("app-", s.serial), 1)
	p.Namespace, p.Signature = namespace, fmt.Sprint(s.serial)
	if kind == Leader {
		p.Gang.Namespace = namespace
	}
	s.tell(PodSeen{p})
	if kind == Leader {
		s.tell(Defined{p.UID, sparkGang(p.Gang.Name, 10, 100)})
	}
	if verdict, _, _ := s.Gate(s.now, p); verdict.Passes() {
		s.tell(Refused{UID: p.UID, Epoch: s.waiting.Epoch(), Verdict: gang.Verdict{Reason: gang.NeverFitsCluster, Message: "no room"}})
	}
	return p
}
