package store

import (
	"context"
	"database/sql"
)

// Standing is how one queue of one namespace stands now.
type Standing struct {
	Namespace, Queue string           // of pods; both empty for what nodes offer
	Running          int64            // applications that have a pod with a node
	Pods             int64            // that have a node
	Waiting          map[string]int64 // reason -> applications that wait for it
	Held             map[string]int64 // resource -> amount that pods hold, or nodes offer
}

// Standings of all queues and namespaces, in no order.
func (s *Store) Standings(ctx context.Context) ([]Standing, error) {
	type key struct{ namespace, queue string }
	found := map[key]*Standing{}
	of := func(namespace, queue string) *Standing {
		k := key{namespace, queue}
		if found[k] == nil {
			found[k] = &Standing{Namespace: namespace, Queue: queue, Waiting: map[string]int64{}, Held: map[string]int64{}}
		}
		return found[k]
	}
	running := map[string]bool{} // Application.Key
	r := &spanReader{each: func(span *Span, _ Identity) {
		standing := of(span.Namespace, span.Queue)
		if span.Kind == Pod {
			standing.Pods++
			if !running[span.Application] {
				running[span.Application] = true
				standing.Running++
			}
		}
		if n := len(span.Segments); n > 0 {
			for _, amount := range span.Segments[n-1].Amounts {
				standing.Held[amount.Resource] = saturated(standing.Held[amount.Resource], amount.Value)
			}
		}
	}}
	if err := s.rows(ctx, r.scan, spanQuery(`s.is_open = 1`)); err != nil {
		return nil, err
	}
	r.end()
	err := s.rows(ctx, func(rows *sql.Rows) error {
		var namespace, queue, reason string
		var n int64
		err := rows.Scan(&namespace, &queue, &reason, &n)
		of(namespace, queue).Waiting[reason] = n
		return err
	}, `SELECT namespace, queue, reason, COUNT(*) FROM application WHERE end_rank = 0 AND bound_ms = 0 GROUP BY namespace, queue, reason`)
	if err != nil {
		return nil, err
	}
	standings := make([]Standing, 0, len(found))
	for _, standing := range found {
		standings = append(standings, *standing)
	}
	return standings, nil
}
