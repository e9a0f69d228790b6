package meter

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/history/store"
	"retinue.dev/retinue/pkg/spark"
)

// How sure a Sweeper is before it ends what it cannot find.
const (
	// confirmAfter is for how long something must have been missing, in every list of that time.
	confirmAfter = 30 * time.Second
	// doubtShare is the part of all open spans, in percent, beyond which it is more likely that the list is wrong, because the
	// meter may no longer see some namespaces, than that so many have ended.
	doubtShare = 20
	// doubtLeast is how many are never too many.
	doubtLeast = 10
	// confirmDoubtAfter is for how long so many must have been missing. Should the list have been wrong all the same, what is
	// seen again is taken back.
	confirmDoubtAfter = 10 * time.Minute
)

// Present is what a list of the cluster's objects shows: UIDs of pods and nodes, and keys of the applications of pods.
type Present struct {
	UIDs         map[string]bool
	Applications map[string]bool
}

// Sweeper ends what has gone unseen: pods that went while no meter ran, or whose deletion was missed.
type Sweeper struct {
	records *store.Store
	meter   *Meter
	// heartbeat is until when a meter knew what was alive before this one began; 0 means never.
	heartbeat int64
	// missing since: UID or Application.Key -> when it was first missed
	missing map[string]int64
}

// NewSweeper makes one. heartbeat is that of the store when this meter began, before it gave any of its own.
func NewSweeper(records *store.Store, meter *Meter, heartbeat int64) *Sweeper {
	return &Sweeper{records: records, meter: meter, heartbeat: heartbeat, missing: map[string]int64{}}
}

// Swept is what a sweep has found.
type Swept struct {
	Missing int // spans and applications that are not there, and are not ended yet
	Ended   int // of those, spans and applications that now are
	// Doubtful means that so many are missing that they are believed to be gone only after confirmDoubtAfter.
	Doubtful bool
}

// Sweep compares what the store holds for open with what the cluster shows, and ends what has been missing for long enough. cached is
// asked first, and what it misses of a list, which costs the API server something; both after the store, so that what is new is
// not missed.
func (s *Sweeper) Sweep(ctx context.Context, cached func() Present, list func(context.Context) (Present, error)) (Swept, error) {
	held, err := s.held(ctx)
	if err != nil {
		return Swept{}, err
	}
	if len(held.missing(cached())) == 0 {
		clear(s.missing)
		return Swept{}, nil
	}
	present, err := list(ctx)
	if err != nil {
		return Swept{}, fmt.Errorf("list of the cluster: %w", err) // nothing is said to be missing by a list that failed
	}
	return s.compare(held, present), nil
}

// held is what the store holds for open.
type held struct {
	pods, nodes map[string]store.OpenSpan
	unstarted   []string
}

func (s *Sweeper) held(ctx context.Context) (h held, err error) {
	if h.pods, err = s.records.Open(ctx, store.Pod); err != nil {
		return h, fmt.Errorf("open pods: %w", err)
	}
	if h.nodes, err = s.records.Open(ctx, store.Node); err != nil {
		return h, fmt.Errorf("open nodes: %w", err)
	}
	if h.unstarted, err = s.records.Unstarted(ctx); err != nil {
		return h, fmt.Errorf("applications that wait: %w", err)
	}
	return h, nil
}

// missing are the UIDs of spans and the keys of applications that are not present.
func (h held) missing(present Present) []string {
	var missing []string
	for _, spans := range []map[string]store.OpenSpan{h.pods, h.nodes} {
		for uid := range spans {
			if !present.UIDs[uid] {
				missing = append(missing, uid)
			}
		}
	}
	for _, key := range h.unstarted {
		if !present.Applications[key] {
			missing = append(missing, key)
		}
	}
	return missing
}

// compare notes what is missing, and ends what has been for long enough.
func (s *Sweeper) compare(h held, present Present) Swept {
	at := s.meter.now()
	missing, gone := map[string]int64{}, 0 // since when; spans
	for _, id := range h.missing(present) {
		missing[id] = at
		if since, ok := s.missing[id]; ok {
			missing[id] = since
		}
		if _, pod := h.pods[id]; pod {
			gone++
		} else if _, node := h.nodes[id]; node {
			gone++
		}
	}
	s.missing = missing
	swept := Swept{Missing: len(missing), Doubtful: gone > doubtLeast && gone*100 > doubtShare*(len(h.pods)+len(h.nodes))}
	patience := confirmAfter
	if swept.Doubtful {
		patience = confirmDoubtAfter
	}
	for id, since := range missing {
		if time.Duration(at-since)*time.Millisecond < patience {
			continue
		}
		if span, open := h.pods[id]; open {
			s.end(span, store.Pod, since)
		} else if span, open := h.nodes[id]; open {
			s.end(span, store.Node, since)
		} else {
			s.meter.infer(store.Application{Key: id, End: s.evidence(0, since)})
		}
		delete(s.missing, id)
		swept.Ended++
	}
	return swept
}

// end a span that has gone. Executors go with their driver: its end is known when its object is still there.
func (s *Sweeper) end(span store.OpenSpan, kind store.Kind, since int64) {
	end := s.evidence(max(span.Alive, span.Start), since)
	if leader := span.LeaderEnded; leader > end.At && leader <= since {
		end.At, end.Uncertainty = leader, leader-end.At
	}
	s.meter.inferSpan(store.Span{UID: span.UID, Kind: kind, End: end})
	if span.Role == spark.RoleDriver {
		s.meter.infer(store.Application{Key: span.Application, End: end})
	}
}

// evidence that something has ended between the last time it was known to be alive and when it was first missed.
func (s *Sweeper) evidence(alive, since int64) store.Evidence {
	at := min(max(alive, s.heartbeat), since)
	return store.Evidence{At: at, Rank: store.EndInferred, Uncertainty: since - at, Reason: "Gone"}
}

func (m *Meter) inferSpan(span store.Span) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addSpan(span)
	m.note(m.now())
}

func (m *Meter) infer(application store.Application) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addApplication(application)
	m.note(m.now())
}

// ApplicationOf is the Application.Key of a pod.
func ApplicationOf(pod *v1.Pod) string { return sight{pod: pod}.applicationKey() }
