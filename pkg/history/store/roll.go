package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Roll brings the sums up to a time: every span that is open, or ended after the horizon, contributes what it used since. Times
// before the horizon change nothing.
func (s *Store) Roll(ctx context.Context, until int64) error {
	return s.write(ctx, func(tx *transaction) error {
		horizon := tx.state(stateHorizon)
		if tx.err != nil || until <= horizon {
			return tx.err
		}
		sums := cells{}
		tx.cut(sums, horizon, until)
		tx.addCells(sums)
		tx.setState(stateHorizon, until)
		return tx.err
	})
}

// cut adds what was used between two times to the sums.
func (t *transaction) cut(into cells, from, until int64) {
	r := &spanReader{each: func(span *Span, identity Identity) { span.cut(into, identity, from, until, 1) }}
	t.query(r.scan, spanQuery(`(s.is_open = 1 OR s.end_ms > ? OR s.start_ms > ?) AND s.start_ms < ?`), from, from, until)
	r.end()
}

// Beat says that everything that was alive at a time has been seen until then.
func (s *Store) Beat(ctx context.Context, at int64) error {
	return s.write(ctx, func(tx *transaction) error {
		if tx.state(stateHeartbeat) < at {
			tx.setState(stateHeartbeat, at)
		}
		return tx.err
	})
}

// State is how far things have come.
type State struct {
	Epoch     int64 // where the sums begin
	Horizon   int64 // how far they go
	Heartbeat int64 // until when a meter knew what was alive; 0 means never
	Purged    int64 // spans that ended before are no longer kept
}

// State of the store.
func (s *Store) State(ctx context.Context) (State, error) {
	var state State
	fields := map[string]*int64{stateEpoch: &state.Epoch, stateHorizon: &state.Horizon, stateHeartbeat: &state.Heartbeat, statePurged: &state.Purged}
	err := s.rows(ctx, func(rows *sql.Rows) error {
		var name string
		var value int64
		err := rows.Scan(&name, &value)
		if field := fields[name]; field != nil {
			*field = value
		}
		return err
	}, `SELECT name, value FROM state`)
	return state, err
}

// OpenSpan is a span that lasts, as far as is known.
type OpenSpan struct {
	UID, Application, Role string
	Start, Alive           int64
	// LeaderEnded is when the application's leader ended; 0 if it has not, or there is none.
	LeaderEnded int64
}

// Open are the spans of a kind that last, by UID.
func (s *Store) Open(ctx context.Context, kind Kind) (map[string]OpenSpan, error) {
	found := map[string]OpenSpan{}
	err := s.rows(ctx, func(rows *sql.Rows) error {
		var span OpenSpan
		err := rows.Scan(&span.UID, &span.Application, &span.Role, &span.Start, &span.Alive, &span.LeaderEnded)
		found[span.UID] = span
		return err
	}, `SELECT s.uid, s.app_key, s.role, s.start_ms, s.alive_ms, COALESCE(a.end_ms, 0) FROM span s LEFT JOIN application a ON a.app_key = s.app_key
		WHERE s.is_open = 1 AND s.kind = ?`, string(kind))
	return found, err
}

// Unstarted are the keys of the applications that wait: they have not ended, and none of their pods has had a node.
func (s *Store) Unstarted(ctx context.Context) ([]string, error) {
	var found []string
	err := s.rows(ctx, func(rows *sql.Rows) error {
		var key string
		err := rows.Scan(&key)
		found = append(found, key)
		return err
	}, `SELECT app_key FROM application WHERE end_rank = 0 AND bound_ms = 0`)
	return found, err
}

// ErrSums is returned when the sums are not those of the spans.
var ErrSums = errors.New("the sums are not those of the spans")

// maxProblems is how many differences Check tells of.
const maxProblems = 20

// Check compares the sums of all hours between two times with the spans, computed anew, and those of the days within with the
// hours. It looks at whole hours and days, after what was purged and before the horizon. checked is how many sums it compared.
func (s *Store) Check(ctx context.Context, from, until int64) (checked int, err error) {
	err = s.write(ctx, func(tx *transaction) error { // alone, so that nothing moves meanwhile
		epoch, horizon, purged := tx.state(stateEpoch), tx.state(stateHorizon), tx.state(statePurged)
		from, until = ceiling(max(from, epoch, purged), Hour), ceiling(min(until, horizon), Hour)
		want, got := cells{}, tx.sums("usage_hour", from, until)
		tx.cut(want, from, min(until, horizon))
		n, problems := compare(want, got)
		checked += n
		firstDay := ceiling(from, Day)
		if epoch >= from { // the first day begins with the epoch
			firstDay = floor(epoch, Day)
		}
		hours := tx.sums("usage_hour", firstDay, floor(until, Day))
		n, more := compare(hours.days(), tx.sums("usage_day", firstDay, floor(until, Day)))
		checked += n
		if problems = append(problems, more...); len(problems) > 0 && tx.err == nil {
			return fmt.Errorf("%w: %d differ, the first: %v", ErrSums, len(problems), problems[:min(len(problems), maxProblems)])
		}
		return tx.err
	})
	return checked, err
}

func ceiling(at, step int64) int64 { return floor(at+step-1, step) }

// sums of a table from one time to another, of which the latter is a whole hour or day.
func (t *transaction) sums(table string, from, until int64) cells {
	found := cells{}
	t.query(func(rows *sql.Rows) error {
		var cell Cell
		var sum Sum
		err := rows.Scan(&cell.Hour, &cell.Namespace, &cell.Queue, &cell.User, &cell.Class, &cell.Resource, &sum.Used, &sum.Lost, &sum.Capacity)
		found[cell] = sum
		return err
	}, `SELECT `+cellColumns+`, used, lost, capacity FROM `+table+` WHERE at_ms >= ? AND at_ms < ?`, from, until)
	return found
}

// compare tells which sums differ, in order.
func compare(want, got cells) (checked int, problems []string) {
	all := cells{}
	for cell := range want {
		all[cell] = Sum{}
	}
	for cell := range got {
		all[cell] = Sum{}
	}
	for _, cell := range all.sorted() {
		if want[cell] != got[cell] {
			problems = append(problems, fmt.Sprintf("%+v is %+v instead of %+v", cell, got[cell], want[cell]))
		}
	}
	return len(all), slices.Clip(problems)
}

// purgeBatch is how many rows go in one transaction: others want to write as well.
const purgeBatch = 5000

// Retention is until when what is over is kept.
type Retention struct {
	Spans        int64 // spans that ended before go; their sums stay
	Applications int64 // applications that were submitted before go, when they have no spans any more
	Hours        int64 // sums of hours before go; those of days stay for ever
}

// Purge removes what is no longer kept, and returns how many rows went.
func (s *Store) Purge(ctx context.Context, keep Retention) (int64, error) {
	state, err := s.State(ctx)
	if err != nil {
		return 0, err
	}
	keep.Spans = min(keep.Spans, floor(state.Horizon, Hour)) // only what has been rolled up
	keep.Hours = min(keep.Hours, keep.Spans)
	if keep.Spans > state.Purged {
		// First said, then done: a purged pod whose object is still there must not be counted again.
		err = s.write(ctx, func(tx *transaction) error {
			tx.setState(statePurged, keep.Spans)
			return tx.err
		})
	}
	var removed int64
	for _, step := range []struct {
		statement string
		before    int64
	}{
		{`DELETE FROM segment WHERE uid IN (SELECT uid FROM span WHERE is_open = 0 AND end_ms <= ? AND EXISTS (SELECT 1 FROM segment g WHERE g.uid = span.uid) LIMIT ?)`, keep.Spans},
		{`DELETE FROM span WHERE uid IN (SELECT uid FROM span WHERE is_open = 0 AND end_ms <= ? LIMIT ?)`, keep.Spans},
		{`DELETE FROM wait WHERE app_key IN (SELECT app_key FROM application a WHERE submitted_ms < ? AND NOT EXISTS (SELECT 1 FROM span s WHERE s.app_key = a.app_key) AND EXISTS (SELECT 1 FROM wait w WHERE w.app_key = a.app_key) LIMIT ?)`, keep.Applications},
		{`DELETE FROM application WHERE app_key IN (SELECT app_key FROM application a WHERE submitted_ms < ? AND NOT EXISTS (SELECT 1 FROM span s WHERE s.app_key = a.app_key) LIMIT ?)`, keep.Applications},
		{`DELETE FROM usage_hour WHERE at_ms < ? AND at_ms IN (SELECT DISTINCT at_ms FROM usage_hour ORDER BY at_ms LIMIT ?)`, keep.Hours},
	} {
		for n := int64(1); n > 0 && err == nil; removed += n {
			n, err = s.remove(ctx, step.statement, step.before)
		}
	}
	return removed, err
}

func (s *Store) remove(ctx context.Context, statement string, before int64) (n int64, err error) {
	err = s.write(ctx, func(tx *transaction) error {
		limit := purgeBatch
		if strings.Contains(statement, "usage_hour") {
			limit = 1 // an hour
		}
		result, err := tx.tx.ExecContext(ctx, tx.bind(statement), before, limit)
		if err != nil {
			return fmt.Errorf("purge: %w", err)
		}
		n, err = result.RowsAffected()
		return err
	})
	return n, err
}
