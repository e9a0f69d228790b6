package store

import (
	"cmp"
	"database/sql"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// chunk is how many rows one statement reads or writes.
const chunk = 200

// keys of a map, sorted.
func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// in calls query once for every chunk of keys, with the places for them and themselves.
func in(keys []string, query func(places string, arguments []any)) {
	for part := range slices.Chunk(keys, chunk) {
		arguments := make([]any, len(part))
		for i, key := range part {
			arguments[i] = key
		}
		query(places(1, len(part)), arguments)
	}
}

// upsert writes rows in chunks. columns are those of the table; of a row that is there, all but the first key columns are replaced,
// or what set says of them instead.
func (t *transaction) upsert(table, columns string, key int, rows [][]any, set ...string) {
	names := strings.Split(columns, ", ")
	if len(set) == 0 {
		for _, name := range names[key:] {
			set = append(set, name+" = excluded."+name)
		}
	}
	for part := range slices.Chunk(rows, chunk) {
		t.exec(`INSERT INTO `+table+`(`+columns+`) VALUES `+places(len(part), len(names))+
			` ON CONFLICT(`+strings.Join(names[:key], ", ")+`) DO UPDATE SET `+strings.Join(set, ", "), slices.Concat(part...)...)
	}
}

const applicationColumns = `app_key, described_rank, described_ms, namespace, name, app_id, kind, owner_name, queue, priority, user_name, identity_source, ` +
	`submitted_ms, bound_ms, end_ms, end_rank, uncertainty_ms, result, reason_ms, reason, message`

// columns of an application, in the order of applicationColumns.
func (a *Application) columns() []any {
	return []any{&a.Key, &a.Rank, &a.Seen, &a.Namespace, &a.Name, &a.ID, &a.Kind, &a.Owner, &a.Queue, &a.Priority, &a.User, &a.Source,
		&a.Submitted, &a.Bound, &a.End.At, &a.End.Rank, &a.End.Uncertainty, &a.End.Reason, &a.Last.At, &a.Last.Reason, &a.Last.Message}
}

// applications with these keys: Key -> application.
func (t *transaction) applications(keys []string) map[string]Application {
	found := map[string]Application{}
	in(keys, func(places string, arguments []any) {
		t.query(func(rows *sql.Rows) error {
			var application Application
			err := rows.Scan(application.columns()...)
			found[application.Key] = application
			return err
		}, `SELECT `+applicationColumns+` FROM application WHERE app_key IN `+places, arguments...)
	})
	return found
}

func (t *transaction) putApplications(applications []Application) {
	rows := make([][]any, len(applications))
	for i := range applications {
		rows[i] = values(applications[i].columns())
	}
	t.upsert("application", applicationColumns, 1, rows)
}

// values that pointers to columns point to.
func values(columns []any) []any {
	found := make([]any, len(columns))
	for i, column := range columns {
		switch column := column.(type) {
		case *string:
			found[i] = *column
		case *Kind:
			found[i] = string(*column)
		case *int64:
			found[i] = *column
		case *int:
			found[i] = int64(*column)
		}
	}
	return found
}

const spanColumns = `uid, kind, described_rank, described_ms, app_key, namespace, name, role, node, class, queue, user_name, identity_source, ` +
	`start_ms, start_rank, end_ms, end_rank, uncertainty_ms, reason, alive_ms`

// columns of a span, in the order of spanColumns; is_open and lost follow.
func (s *Span) columns() []any {
	return []any{&s.UID, &s.Kind, &s.Rank, &s.Seen, &s.Application, &s.Namespace, &s.Name, &s.Role, &s.Node, &s.Class, &s.Queue, &s.User, &s.Source,
		&s.Start.At, &s.Start.Rank, &s.End.At, &s.End.Rank, &s.End.Uncertainty, &s.End.Reason, &s.Alive}
}

func (t *transaction) putSpans(spans []Span) {
	slices.SortFunc(spans, func(a, b Span) int { return cmp.Compare(a.UID, b.UID) })
	var rows, segments [][]any
	for i := range spans {
		span := &spans[i]
		rows = append(rows, append(values(span.columns()), bit(span.Open()), bit(span.Lost)))
		for _, segment := range span.Segments {
			row, err := segment.row(span.UID)
			if err != nil {
				t.err = cmp.Or(t.err, err)
				return
			}
			segments = append(segments, row)
		}
	}
	t.upsert("span", spanColumns+", is_open, lost", 1, rows)
	t.upsert("segment", "uid, seq, since_ms, cpu_milli, memory_mib, others", 2, segments)
}

func bit(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

// Resources that have a column of their own.
const (
	CPU    = "cpu"
	Memory = "memory"
)

// row of a segment: what has no column of its own is an object of JSON, resource -> amount.
func (s Segment) row(uid string) ([]any, error) {
	cpu, memory, others := int64(0), int64(0), map[string]int64{}
	for _, amount := range s.Amounts {
		switch amount.Resource {
		case CPU:
			cpu = amount.Value
		case Memory:
			memory = amount.Value
		default:
			others[amount.Resource] = amount.Value
		}
	}
	text, err := json.Marshal(others)
	return []any{uid, s.Seq, s.Since, cpu, memory, string(text)}, err
}

// amounts of a row, sorted by resource. Zeros are not written down.
func amounts(cpu, memory int64, others string) ([]Amount, error) {
	var found []Amount
	if others != "{}" {
		values := map[string]int64{}
		if err := json.Unmarshal([]byte(others), &values); err != nil {
			return nil, err
		}
		for _, resource := range keys(values) {
			found = append(found, Amount{resource, values[resource]})
		}
	}
	if cpu != 0 {
		found = append(found, Amount{CPU, cpu})
	}
	if memory != 0 {
		found = append(found, Amount{Memory, memory})
	}
	slices.SortFunc(found, func(a, b Amount) int { return cmp.Compare(a.Resource, b.Resource) })
	return found, nil
}

// prefixed are columns of a table that is called by another name in a query.
func prefixed(name, columns string) string {
	return name + "." + strings.ReplaceAll(columns, ", ", ", "+name+".")
}

// spanQuery reads spans with whose they are by their application's leader and their segments, one row a segment.
func spanQuery(condition string) string {
	return `SELECT ` + prefixed("s", spanColumns) + `, s.lost, a.user_name, a.identity_source, g.seq, g.since_ms, g.cpu_milli, g.memory_mib, g.others
		FROM span s LEFT JOIN application a ON a.app_key = s.app_key AND a.described_rank = ` + strconv.Itoa(OfLeader) + `
		LEFT JOIN segment g ON g.uid = s.uid WHERE ` + condition + ` ORDER BY s.uid, g.seq`
}

// spanReader makes spans of the rows of spanQuery, and hands each over as soon as it is whole.
type spanReader struct {
	current  Span
	identity Identity // whose it is
	each     func(*Span, Identity)
}

func (r *spanReader) scan(rows *sql.Rows) error {
	var span Span
	var seq, since, cpu, memory sql.NullInt64
	var others, user, source sql.NullString
	if err := rows.Scan(append(span.columns(), &span.Lost, &user, &source, &seq, &since, &cpu, &memory, &others)...); err != nil {
		return err
	}
	if span.UID != r.current.UID {
		r.end()
		r.current, r.identity = span, span.Identity
		if user.Valid {
			r.identity = Identity{user.String, source.String}
		}
	}
	if !seq.Valid {
		return nil
	}
	held, err := amounts(cpu.Int64, memory.Int64, others.String)
	r.current.Segments = append(r.current.Segments, Segment{Seq: seq.Int64, Since: since.Int64, Amounts: held})
	return err
}

// end hands over the last.
func (r *spanReader) end() {
	if r.current.UID != "" {
		r.each(&r.current, r.identity)
		r.current = Span{}
	}
}

// spansOf are all spans of applications: UID -> span.
func (t *transaction) spansOf(applications []string) map[string]Span {
	found := map[string]Span{}
	t.readSpans(found, "s.app_key", applications)
	return found
}

// spans adds those with the UIDs to what is found.
func (t *transaction) spans(found map[string]Span, uids []string) { t.readSpans(found, "s.uid", uids) }

func (t *transaction) readSpans(found map[string]Span, column string, values []string) {
	r := &spanReader{each: func(span *Span, _ Identity) { found[span.UID] = *span }}
	in(values, func(places string, arguments []any) {
		t.query(r.scan, spanQuery(column+` IN `+places), arguments...)
		r.end()
	})
}

func (t *transaction) addWaits(waits map[string][]Wait) {
	rows := map[[3]any][]any{} // key -> row: no statement may touch one row twice
	for _, key := range keys(waits) {
		for _, wait := range waits[key] {
			reason, message := cleanText(wait.Reason), cleanText(wait.Message)
			id := [3]any{key, wait.At, reason}
			if row, ok := rows[id]; !ok || message < row[3].(string) {
				rows[id] = []any{key, wait.At, reason, message}
			}
		}
	}
	sorted := slices.SortedFunc(maps.Values(rows), func(a, b []any) int {
		return cmp.Or(cmp.Compare(a[0].(string), b[0].(string)), cmp.Compare(a[1].(int64), b[1].(int64)), cmp.Compare(a[2].(string), b[2].(string)))
	})
	t.upsert("wait", "app_key, at_ms, reason, message", 3, sorted,
		"message = CASE WHEN excluded.message < wait.message THEN excluded.message ELSE wait.message END")
}

// addCells adds to the sums of hours and days. Sums that become zero go.
func (t *transaction) addCells(deltas cells) {
	if len(deltas) == 0 {
		return
	}
	for _, table := range []struct {
		name   string
		deltas cells
	}{{"usage_hour", deltas}, {"usage_day", deltas.days()}} {
		var rows [][]any
		touched := map[int64]bool{} // hours or days in which something became less
		for _, cell := range table.deltas.sorted() {
			sum := table.deltas[cell]
			rows = append(rows, []any{cell.Hour, cell.Namespace, cell.Queue, cell.User, cell.Class, cell.Resource, sum.Used, sum.Lost, sum.Capacity})
			if sum.Used < 0 || sum.Lost < 0 || sum.Capacity < 0 {
				touched[cell.Hour] = true
			}
		}
		var set []string
		for _, column := range []string{"used", "lost", "capacity"} {
			set = append(set, column+" = "+table.name+"."+column+" + excluded."+column)
		}
		t.upsert(table.name, cellColumns+", used, lost, capacity", 6, rows, set...)
		for _, at := range slices.Sorted(maps.Keys(touched)) {
			t.exec(`DELETE FROM `+table.name+` WHERE at_ms = ? AND used = 0 AND lost = 0 AND capacity = 0`, at)
		}
	}
}

const cellColumns = `at_ms, namespace, queue, user_name, class, resource`
