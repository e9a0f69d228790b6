package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Fields by which usage may be told apart.
const (
	ByTime      = "time"
	ByNamespace = "namespace"
	ByQueue     = "queue"
	ByUser      = "user"
	ByClass     = "class"
	ByResource  = "resource"
)

// columnOf are the columns of the fields.
var columnOf = map[string]string{ByTime: "at_ms", ByNamespace: "namespace", ByQueue: "queue", ByUser: "user_name", ByClass: "class", ByResource: "resource"}

// ErrField is returned for a field by which usage cannot be told apart.
var ErrField = errors.New("usage is told apart by time, namespace, queue, user, class and resource only")

// Usage is what is asked of the sums.
type Usage struct {
	From, Until int64    // whole hours, or whole days if Daily
	Daily       bool     // sums of days, which are kept for ever
	By          []string // fields; the others are added up
	Namespaces  []string // nil means all; what nodes offer belongs to none
	Capacity    bool     // what nodes offer as well
}

// MaxRows is how many sums a question may have for an answer.
const MaxRows = 200_000

// ErrMany is returned when the answer would be longer than MaxRows.
var ErrMany = errors.New("the answer is too long: ask for less time, or by fewer fields")

// Row is one sum. The fields that were not asked for are empty.
type Row struct {
	Cell
	Sum
}

// Usage adds up the sums.
func (s *Store) Usage(ctx context.Context, ask Usage) ([]Row, error) {
	table := "usage_hour"
	if ask.Daily {
		table = "usage_day"
	}
	var columns []string
	for _, field := range ask.By {
		column := columnOf[field]
		if column == "" {
			return nil, fmt.Errorf("%w: not by %q", ErrField, field)
		}
		if !slices.Contains(columns, column) {
			columns = append(columns, column)
		}
	}
	condition, arguments := `at_ms >= ? AND at_ms < ?`, []any{ask.From, ask.Until}
	if ask.Namespaces != nil {
		if len(ask.Namespaces) == 0 && !ask.Capacity {
			return nil, nil
		}
		allowed := slices.Clone(ask.Namespaces)
		if ask.Capacity {
			allowed = append(allowed, "")
		}
		condition += ` AND namespace IN ` + places(1, len(allowed))
		for _, namespace := range allowed {
			arguments = append(arguments, namespace)
		}
	}
	if !ask.Capacity {
		condition += ` AND namespace <> ''`
	}
	var found []Row
	err := s.rows(ctx, func(rows *sql.Rows) error {
		if len(found) == MaxRows {
			return ErrMany
		}
		var row Row
		fields := map[string]any{"at_ms": &row.Hour, "namespace": &row.Namespace, "queue": &row.Queue, "user_name": &row.User, "class": &row.Class, "resource": &row.Resource}
		targets := make([]any, 0, len(columns)+3)
		for _, column := range columns {
			targets = append(targets, fields[column])
		}
		var used, lost, capacity float64
		if err := rows.Scan(append(targets, &used, &lost, &capacity)...); err != nil {
			return err
		}
		row.Sum = Sum{int64(used), int64(lost), int64(capacity)}
		found = append(found, row)
		return nil
	}, usageQuery(table, condition, columns), arguments...)
	return found, err
}

// usageQuery adds up in floating point, which does not overflow as a hostile sum of integers would, and is exact to nine quadrillion.
func usageQuery(table, condition string, columns []string) string {
	selected := slices.Clone(columns)
	for _, sum := range []string{"used", "lost", "capacity"} {
		selected = append(selected, `COALESCE(SUM(CAST(`+sum+` AS DOUBLE PRECISION)), 0)`)
	}
	query := `SELECT ` + strings.Join(selected, ", ") + ` FROM ` + table + ` WHERE ` + condition
	if by := strings.Join(columns, ", "); by != "" {
		query += ` GROUP BY ` + by + ` ORDER BY ` + by
	}
	return query
}

// Filter is which applications are asked for. Empty fields let all pass.
type Filter struct {
	Namespaces        []string // nil means all
	Queue, User, Name string
	State             string // one of the State constants
	// Before is a Page of the answer before; the zero Page begins.
	Before Page
	Limit  int // at most MaxPage
}

// Page is where an answer went on: applications are listed the last submitted first.
type Page struct {
	Submitted int64
	Key       string
}

// MaxPage is how many applications one answer has at most.
const MaxPage = 1000

// States of an application, by what its pods are.
const (
	StateWaiting  = "Waiting"
	StateRunning  = "Running"
	StateFinished = "Finished"
)

// Listed is an application with what its pods are now.
type Listed struct {
	Application
	Pods    int64 // that have had a node
	Running int64 // of them, now
	LastEnd int64 // of its pods; 0 if none has ended
}

// State of the application.
func (l *Listed) State() string {
	switch {
	case l.Running > 0:
		return StateRunning
	case l.End.Rank > 0, l.Pods > 0: // the latter if its leader's end is not known yet, or it has none
		return StateFinished
	default:
		return StateWaiting
	}
}

// Ended is when it ended, by its leader or else its last pod; 0 means not yet.
func (l *Listed) Ended() int64 {
	if l.State() != StateFinished {
		return 0
	}
	if l.End.Rank > 0 {
		return l.End.At
	}
	return l.LastEnd
}

// Applications are those that pass, the last submitted first.
func (s *Store) Applications(ctx context.Context, filter Filter) ([]Listed, error) {
	condition, arguments := []string{`1 = 1`}, []any(nil)
	with := func(text string, values ...any) {
		condition, arguments = append(condition, text), append(arguments, values...)
	}
	if filter.Namespaces != nil {
		if len(filter.Namespaces) == 0 {
			return nil, nil
		}
		var values []any
		for _, namespace := range filter.Namespaces {
			values = append(values, namespace)
		}
		with(`a.namespace IN `+places(1, len(values)), values...)
	}
	for _, field := range []struct{ column, value string }{{"a.queue", filter.Queue}, {"a.user_name", filter.User}, {"a.name", filter.Name}} {
		if field.value != "" {
			with(field.column+` = ?`, field.value)
		}
	}
	const running, held = `EXISTS (SELECT 1 FROM span s WHERE s.app_key = a.app_key AND s.is_open = 1)`, `EXISTS (SELECT 1 FROM span s WHERE s.app_key = a.app_key)`
	switch filter.State {
	case StateRunning:
		with(running)
	case StateFinished:
		with(`(a.end_rank > 0 OR ` + held + `) AND NOT ` + running)
	case StateWaiting:
		with(`a.end_rank = 0 AND NOT ` + held)
	}
	if filter.Before != (Page{}) {
		with(`(a.submitted_ms < ? OR a.submitted_ms = ? AND a.app_key < ?)`, filter.Before.Submitted, filter.Before.Submitted, filter.Before.Key)
	}
	limit := filter.Limit
	if limit <= 0 || limit > MaxPage {
		limit = MaxPage
	}
	var found []Listed
	err := s.rows(ctx, func(rows *sql.Rows) error {
		var listed Listed
		err := rows.Scan(append(listed.columns(), &listed.Pods, &listed.Running, &listed.LastEnd)...)
		found = append(found, listed)
		return err
	}, `SELECT `+prefixed("p", applicationColumns)+`, COUNT(s.uid), COALESCE(SUM(s.is_open), 0), COALESCE(MAX(CASE WHEN s.is_open = 0 THEN s.end_ms END), 0)
		FROM (SELECT `+prefixed("a", applicationColumns)+` FROM application a WHERE `+strings.Join(condition, " AND ")+`
			ORDER BY a.submitted_ms DESC, a.app_key DESC LIMIT `+fmt.Sprint(limit)+`) p
		LEFT JOIN span s ON s.app_key = p.app_key GROUP BY `+prefixed("p", applicationColumns)+` ORDER BY p.submitted_ms DESC, p.app_key DESC`, arguments...)
	return found, err
}

// ErrNone is returned when there is no such application.
var ErrNone = errors.New("no such application")

// Story is all that is known of one application.
type Story struct {
	Listed
	Waits []Wait // in order; of consecutive ones for the same reason the first
	Spans []Span // by start
}

// maxStory is how many pods of one application are read.
const maxStory = 20_000

// Story of an application, by its Key.
func (s *Store) Story(ctx context.Context, key string) (*Story, error) {
	story := &Story{}
	err := s.rows(ctx, func(rows *sql.Rows) error { return rows.Scan(story.columns()...) },
		`SELECT `+applicationColumns+` FROM application WHERE app_key = ?`, key)
	if err == nil && story.Key == "" {
		err = ErrNone
	}
	if err != nil {
		return nil, err
	}
	err = s.rows(ctx, func(rows *sql.Rows) error {
		var wait Wait
		err := rows.Scan(&wait.At, &wait.Reason, &wait.Message)
		if n := len(story.Waits); n == 0 || story.Waits[n-1].Reason != wait.Reason {
			story.Waits = append(story.Waits, wait)
		}
		return err
	}, `SELECT at_ms, reason, message FROM wait WHERE app_key = ? ORDER BY at_ms, reason`, key)
	if err != nil {
		return nil, err
	}
	r := &spanReader{each: func(span *Span, _ Identity) { story.Spans = append(story.Spans, *span) }}
	err = s.rows(ctx, r.scan, spanQuery(`s.uid IN (SELECT uid FROM span WHERE app_key = ? ORDER BY start_ms, uid LIMIT `+fmt.Sprint(maxStory)+`)`), key)
	r.end()
	slices.SortStableFunc(story.Spans, func(a, b Span) int { return int(min(max(a.Start.At-b.Start.At, -1), 1)) })
	for _, span := range story.Spans {
		story.Pods++
		if ended, over := span.Ended(); over {
			story.LastEnd = max(story.LastEnd, ended)
		} else {
			story.Running++
		}
	}
	return story, err
}
