package meter

import (
	"context"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/history/store"
)

// DefaultClassLabel is the label of nodes that names their class.
const DefaultClassLabel = v1.LabelInstanceTypeStable

// Outside is what a Meter uses.
type Outside struct {
	// Apply writes observations, all or none.
	Apply func(context.Context, store.Observations) error
	Clock clock.PassiveClock
	// ClassLabel is the label of nodes that names their class.
	ClassLabel string
}

// Meter turns what informers show into observations, and writes them in batches. Its methods may be called from any goroutine.
type Meter struct {
	outside Outside
	// writing is held while a batch is written, so that there is one at a time.
	writing sync.Mutex

	mu     sync.Mutex // guards everything below
	queues queues
	nodes  map[string]node // name -> node
	// told is for what an application was last seen to wait: Application.Key -> reason. It is forgotten when the application starts.
	told    map[string]string
	pending store.Observations
	// since is when the oldest of what is pending was seen; 0 means that nothing is.
	since int64
}

// New makes a meter that has seen nothing.
func New(outside Outside) *Meter {
	return &Meter{outside: outside, queues: newQueues(), nodes: map[string]node{}, told: map[string]string{}, pending: none()}
}

func none() store.Observations {
	return store.Observations{Spans: map[string]store.Span{}, Applications: map[string]store.Application{}, Waits: map[string][]store.Wait{}}
}

func (m *Meter) now() int64 { return m.outside.Clock.Now().UnixMilli() }

// Pod notes how a pod is, or was last before it was deleted.
func (m *Meter) Pod(pod *v1.Pod, gone bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queues.read()
	s := sight{pod: pod, at: m.now(), gone: gone, queue: m.queues.of[pod.Namespace]}
	if node, known := m.nodes[pod.Spec.NodeName]; known {
		s.class, s.known, s.lost = node.class, true, node.lost
	}
	application := s.application()
	if span, bound := s.span(); bound {
		m.addSpan(span)
		delete(m.told, application.Key)
	} else if gone {
		delete(m.told, application.Key)
	}
	if wait, waits := s.wait(); waits && m.told[application.Key] != wait.Reason {
		m.told[application.Key] = wait.Reason
		application.Last = wait
		m.pending.Waits[application.Key] = append(m.pending.Waits[application.Key], wait)
	}
	m.addApplication(application)
	m.note(s.at)
}

// Node notes how a node is, or was last before it was deleted.
func (m *Meter) Node(object *v1.Node, gone bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.now()
	seen := seeNode(object, m.outside.ClassLabel, at)
	before, known := m.nodes[object.Name]
	switch {
	case gone:
		// Pods whose node has gone are lost since then; the name may come back.
		seen.lost = at
		if known && before.lost > 0 {
			seen.lost = before.lost
		}
		m.nodes[object.Name] = seen
	case known && before.same(seen):
		return
	default:
		m.nodes[object.Name] = seen
	}
	m.addSpan(seen.span(object, at, gone))
	m.note(at)
}

// Forget frees what is remembered of nodes that went before a time: their pods have gone by then.
func (m *Meter) Forget(nodes map[string]bool, before int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, node := range m.nodes {
		if !nodes[name] && node.lost > 0 && node.lost < before {
			delete(m.nodes, name)
		}
	}
}

// Namespace notes the labels of a namespace.
func (m *Meter) Namespace(namespace *v1.Namespace, gone bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	labels := namespace.Labels
	switch {
	case gone:
		labels = nil
	case labels == nil:
		labels = map[string]string{}
	}
	m.queues.label(namespace.Name, labels)
}

// Queue notes a Queue. One that cannot be read is an error, and counts as if it were not there.
func (m *Meter) Queue(object *unstructured.Unstructured, gone bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if gone {
		m.queues.lose(object.GetName())
		return nil
	}
	return m.queues.see(object)
}

func (m *Meter) addSpan(span store.Span) {
	m.pending.Spans[span.UID] = m.pending.Spans[span.UID].Merge(span)
}

func (m *Meter) addApplication(application store.Application) {
	m.pending.Applications[application.Key] = m.pending.Applications[application.Key].Merge(application)
}

// note that something was seen.
func (m *Meter) note(at int64) {
	if m.since == 0 {
		m.since = at
	}
}

// Behind is for how long the oldest observation has been waiting to be written, and how many spans are.
func (m *Meter) Behind() (lag time.Duration, spans int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.since > 0 {
		lag = time.Duration(m.now()-m.since) * time.Millisecond
	}
	return lag, len(m.pending.Spans)
}

// batchSize is how many spans and applications, each, are written in one transaction at most.
const batchSize = 500

// Flush writes what has been seen so far. What cannot be written stays, merged with what is seen meanwhile.
func (m *Meter) Flush(ctx context.Context) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	m.mu.Lock()
	seen, since := m.pending, m.since
	m.pending, m.since = none(), 0
	m.mu.Unlock()
	for {
		part := take(seen)
		if len(part.Spans)+len(part.Applications)+len(part.Waits) == 0 {
			return nil
		}
		if err := m.outside.Apply(ctx, part); err != nil {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.putBack(part)
			m.putBack(seen)
			m.since = since
			return err
		}
	}
}

// take moves a batch out of what was seen. Applications go first, as they say whose spans are.
func take(seen store.Observations) store.Observations {
	part := none()
	for key, application := range seen.Applications {
		if len(part.Applications) == batchSize {
			break
		}
		part.Applications[key] = application
		delete(seen.Applications, key)
		if waits := seen.Waits[key]; waits != nil {
			part.Waits[key] = waits
			delete(seen.Waits, key)
		}
	}
	for uid, span := range seen.Spans {
		if len(part.Spans) == batchSize || len(seen.Applications) > 0 {
			break
		}
		part.Spans[uid] = span
		delete(seen.Spans, uid)
	}
	return part
}

func (m *Meter) putBack(seen store.Observations) {
	for _, span := range seen.Spans {
		m.addSpan(span)
	}
	for _, application := range seen.Applications {
		m.addApplication(application)
	}
	for key, waits := range seen.Waits {
		m.pending.Waits[key] = append(m.pending.Waits[key], waits...)
	}
}
