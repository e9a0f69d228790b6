package reclaim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

// Taking is what a plan takes from whom, in one sentence.
type Taking struct {
	// Words go before it: "takes back ".
	Words string
	queue string // of who takes it
	from  []share
	// besides is what it takes from nobody; empty means nothing.
	besides string
}

// share is what one queue gives.
type share struct {
	queue  string
	amount resource.Vector
	kinds  [quota.Gang + 1]int // kind -> how many
	// single of the gangs are pods by themselves.
	single int
}

// Taking is what a plan takes from whom.
func (p *Plan) Taking(words string) *Taking {
	from := map[string]*share{}
	for at, v := range p.Chosen {
		if from[v.Queue] == nil {
			from[v.Queue] = &share{queue: v.Queue}
		}
		from[v.Queue].amount = from[v.Queue].amount.Add(v.Amount)
		from[v.Queue].kinds[v.Kind]++
		if v.Kind == quota.Gang && !p.Victims[at].Holder.Gang {
			from[v.Queue].single++
		}
	}
	t := &Taking{Words: words, queue: p.Request.Queue, besides: p.besides}
	for _, queue := range slices.Sorted(maps.Keys(from)) {
		t.from = append(t.from, *from[queue])
	}
	return t
}

// Text says it all, or without names: then all other queues are one.
func (t *Taking) Text(names bool) string {
	var parts []string
	if t.besides != "" {
		parts = append(parts, t.besides)
	}
	var others []share
	for _, s := range t.from {
		if names || s.queue == t.queue {
			parts = append(parts, s.text(titleOf(s.queue)))
		} else {
			others = append(others, s)
		}
	}
	if len(others) > 0 {
		all, title := share{}, anotherQueue
		for _, s := range others {
			all.amount, all.single = all.amount.Add(s.amount), all.single+s.single
			for kind, n := range s.kinds {
				all.kinds[kind] += n
			}
		}
		if len(others) > 1 {
			title = "other queues"
		}
		parts = append(parts, all.text(title))
	}
	return t.Words + strings.Join(parts, "; ")
}

func (s *share) text(title string) string {
	var kinds []string
	count := func(word string, n int) {
		if n > 0 {
			kinds = append(kinds, fmt.Sprintf("%s: %d", word, n))
		}
	}
	count("gangs whose slots nobody has claimed", s.kinds[quota.Slot])
	count("expendable workers", s.kinds[quota.Elastic])
	count("whole gangs", s.kinds[quota.Gang]-s.single)
	count("pods by themselves", s.single)
	return fmt.Sprintf("%s from %s (%s)", s.amount, title, strings.Join(kinds, ", "))
}

// anotherQueue stands for a queue that its reader need not know.
const anotherQueue = "another queue"

// titleOf is a queue's name for people.
func titleOf(queue string) string {
	if queue == quota.Unassigned {
		return "namespaces without a queue"
	}
	return "queue " + queue
}

// Loss is why somebody has to go, for its user to read.
type Loss struct {
	what      string
	victim    quota.Victim
	request   quota.Request
	namespace string // of the victim
	title     string // of who takes its place: namespace/name
}

// Why is what the user of a victim reads: of each of its pods, or of its slots.
func (p *Plan) Why(at int) *Loss {
	l := &Loss{what: "this pod", victim: p.Chosen[at], request: p.Request, namespace: p.Victims[at].Holder.Key.Namespace, title: p.title}
	switch {
	case l.victim.Kind == quota.Slot:
		l.what = "its slots that nobody has claimed"
	case l.victim.Kind == quota.Gang && p.Victims[at].Holder.Gang:
		l.what = "this pod, with its whole gang,"
	}
	return l
}

// Text says for whom, or without names that it is somebody of the same queue or of another.
func (l *Loss) Text(names bool) string {
	v := &l.victim
	named := names || strings.HasPrefix(l.title, l.namespace+"/")
	if v.Queue == l.request.Queue {
		title := "another gang of its queue"
		if named {
			title = l.title
		}
		return fmt.Sprintf("%s of %s makes place for %s, whose priority is %d; this one has %d", l.what, v.Amount, title, l.request.Priority, v.Priority)
	}
	to := anotherQueue
	if names {
		to = titleOf(l.request.Queue) + " for " + l.title
	}
	return fmt.Sprintf("%s was borrowed (%s) by %s, and goes back to %s, which is within its guarantee", l.what, v.Amount, titleOf(v.Queue), to)
}
