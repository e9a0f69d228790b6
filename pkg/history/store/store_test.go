package store

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"retinue.dev/retinue/test/postgres"
)

// onBoth runs a test on SQLite and on PostgreSQL. source makes a new database.
func onBoth(t *testing.T, test func(t *testing.T, source func() string)) {
	t.Run("SQLite", func(t *testing.T) {
		test(t, func() string { return filepath.Join(t.TempDir(), "history.db") })
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		postgres.Database(t) // or skip
		test(t, func() string { return postgres.Database(t) })
	})
}

func open(t testing.TB, source string) *Store {
	t.Helper()
	s, err := Open(t.Context(), source, begin)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// empty makes the database as it was when it was new.
func (s *Store) empty(t require.TestingT) {
	require.NoError(t, s.write(context.Background(), func(tx *transaction) error {
		for _, table := range tables {
			tx.exec(`DELETE FROM ` + table)
		}
		return tx.err
	}))
	require.NoError(t, s.prepare(context.Background(), begin))
}

var tables = []string{"application", "segment", "span", "state", "usage_day", "usage_hour", "wait"}

// dump is everything that is stored.
func (s *Store) dump(t require.TestingT) string {
	var text strings.Builder
	for _, table := range tables {
		var lines []string
		require.NoError(t, s.rows(context.Background(), func(rows *sql.Rows) error {
			columns, err := rows.Columns()
			if err != nil {
				return err
			}
			values := make([]any, len(columns))
			targets := make([]any, len(columns))
			for i := range values {
				targets[i] = &values[i]
			}
			err = rows.Scan(targets...)
			lines = append(lines, fmt.Sprintln(append([]any{table}, values...)...))
			return err
		}, `SELECT * FROM `+table))
		slices.Sort(lines)
		text.WriteString(strings.Join(lines, ""))
	}
	return text.String()
}

// observed is one observation.
type observed struct {
	span        *Span
	application *Application
	wait        *Wait // of the application etl/one
}

// batch of observations, as a meter merges them.
func batch(seen []observed) Observations {
	merged := Observations{Spans: map[string]Span{}, Applications: map[string]Application{}, Waits: map[string][]Wait{}}
	for _, one := range seen {
		switch {
		case one.span != nil:
			merged.Spans[one.span.UID] = merged.Spans[one.span.UID].Merge(*one.span)
		case one.application != nil:
			merged.Applications[one.application.Key] = merged.Applications[one.application.Key].Merge(*one.application)
		default:
			merged.Waits["etl/one"] = append(merged.Waits["etl/one"], *one.wait)
		}
	}
	return merged
}

// TestTheOrderOfObservationsMakesNoDifference: in any order, any number of times, in any batches, and with sums rolled up at any
// times between, the same observations leave the same tables, and sums that are those of the spans.
func TestTheOrderOfObservationsMakesNoDifference(t *testing.T) {
	onBoth(t, func(t *testing.T, source func() string) {
		s := open(t, source())
		if !s.postgres {
			_, err := s.writer.Exec(`PRAGMA synchronous = OFF`)
			require.NoError(t, err)
		}
		ctx, end := t.Context(), begin+7*Hour
		rapid.Check(t, func(t *rapid.T) {
			var all []observed
			for range rapid.IntRange(1, 12).Draw(t, "observations") {
				var one observed
				switch rapid.IntRange(0, 5).Draw(t, "what") {
				case 0:
					application := seenApplication(t)
					one.application = &application
				case 1:
					one.wait = &Wait{At: moment(t, "at"), Reason: rapid.SampledFrom([]string{"ClusterFull", ""}).Draw(t, "reason"), Message: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "message")}
				default:
					span := seenSpan(t)
					one.span = &span
				}
				all = append(all, one)
			}

			s.empty(t)
			require.NoError(t, s.Apply(ctx, batch(all)))
			require.NoError(t, s.Roll(ctx, end))
			want := s.dump(t)
			_, err := s.Check(ctx, 0, end)
			require.NoError(t, err)

			s.empty(t)
			again := rapid.SliceOfN(rapid.SampledFrom(all), 0, 6).Draw(t, "again")
			shuffled := rapid.Permutation(append(all[:len(all):len(all)], again...)).Draw(t, "order")
			for len(shuffled) > 0 {
				n := rapid.IntRange(1, len(shuffled)).Draw(t, "batch")
				require.NoError(t, s.Apply(ctx, batch(shuffled[:n])))
				shuffled = shuffled[n:]
				if rapid.Bool().Draw(t, "roll") {
					require.NoError(t, s.Roll(ctx, moment(t, "until")))
				}
			}
			_, err = s.Check(ctx, 0, end)
			require.NoError(t, err)
			require.NoError(t, s.Roll(ctx, end))
			require.Equal(t, want, s.dump(t))
			_, err = s.Check(ctx, 0, end)
			require.NoError(t, err)
		})
	})
}

// pod is a span of 1 core and 1 GiB for ann, from some seconds after begin.
func pod(uid string, after int64) Span {
	return Span{UID: uid, Kind: Pod, Start: Evidence{At: begin + after*1000, Rank: StartScheduled}, Alive: begin + after*1000,
		Description: Description{Rank: 1, Seen: begin, Application: "etl/one", Namespace: "etl", Name: uid, Class: "large", Identity: Identity{"ann", SourceLabel}},
		Segments:    []Segment{{Seq: 1, Amounts: []Amount{{CPU, 1000}, {Memory, 1024}}}}}
}

func ends(span Span, rank int, after int64) Span {
	span.End = Evidence{At: begin + after*1000, Rank: rank}
	return span
}

// seen are observations of spans.
func seen(spans ...Span) Observations {
	var all []observed
	for i := range spans {
		all = append(all, observed{span: &spans[i]})
	}
	return batch(all)
}

// cpu is the sum of core-seconds of the hours, as used or lost.
func cpu(t *testing.T, s *Store, of func(Sum) int64, ask Usage) map[string]int64 {
	t.Helper()
	if ask.Until == 0 {
		ask.Until = begin + 100*Day
	}
	rows, err := s.Usage(t.Context(), ask)
	require.NoError(t, err)
	found := map[string]int64{}
	for _, row := range rows {
		if row.Resource == CPU && of(row.Sum) != 0 {
			found[strings.Trim(fmt.Sprint(row.Namespace, " ", row.User, " ", row.Class), " ")] += of(row.Sum) / 1000
		}
	}
	return found
}

func used(sum Sum) int64        { return sum.Used }
func taken(sum Sum) int64       { return sum.Lost }
func offered(sum Sum) int64     { return sum.Capacity }
func by(fields ...string) Usage { return Usage{By: append(fields, ByResource)} }

func TestLateEvidenceCorrectsWhatWasCounted(t *testing.T) {
	onBoth(t, func(t *testing.T, source func() string) {
		s, ctx := open(t, source()), t.Context()
		require.NoError(t, s.Apply(ctx, seen(pod("a", 0), pod("b", 600))))
		require.NoError(t, s.Roll(ctx, begin+3*Hour))
		require.Equal(t, map[string]int64{"ann": 3*3600*2 - 600}, cpu(t, s, used, by(ByUser)), "both are thought to run")
		// a had ended after ten minutes, two hours of rolling ago.
		require.NoError(t, s.Apply(ctx, seen(ends(pod("a", 0), EndInferred, 600))))
		require.Equal(t, map[string]int64{"ann": 3 * 3600}, cpu(t, s, used, by(ByUser)))
		// No, it had not: it is seen alive, and ends later.
		alive := pod("a", 0)
		alive.Alive = begin + 3*Hour
		require.NoError(t, s.Apply(ctx, seen(alive)))
		require.Equal(t, map[string]int64{"ann": 3*3600*2 - 600}, cpu(t, s, used, by(ByUser)))
		require.NoError(t, s.Apply(ctx, seen(ends(pod("a", 0), EndContainers, 7200))))
		require.Equal(t, map[string]int64{"ann": 7200 + 3*3600 - 600}, cpu(t, s, used, by(ByUser)))
		require.Equal(t, map[string]int64{"ann": 7200 + 3*3600 - 600}, cpu(t, s, used, Usage{By: []string{ByUser, ByResource}, Daily: true}))
		// b is taken away.
		gone := ends(pod("b", 600), EndContainers, 1200)
		gone.Lost = true
		require.NoError(t, s.Apply(ctx, seen(gone)))
		require.Equal(t, map[string]int64{"ann": 7200 + 600}, cpu(t, s, used, by(ByUser)))
		require.Equal(t, map[string]int64{"ann": 600}, cpu(t, s, taken, by(ByUser)))
		checked, err := s.Check(ctx, 0, begin+3*Hour)
		require.NoError(t, err)
		require.Greater(t, checked, 4)
		_, err = s.writer.Exec(`UPDATE usage_hour SET used = used + 1 WHERE resource = 'cpu'`)
		require.NoError(t, err)
		_, err = s.Check(ctx, 0, begin+3*Hour)
		require.ErrorIs(t, err, ErrSums)
	})
}

// TestAnApplicationBelongsToItsLeadersUser: what workers say of theirs counts only as long as nobody has seen the leader.
func TestAnApplicationBelongsToItsLeadersUser(t *testing.T) {
	onBoth(t, func(t *testing.T, source func() string) {
		s, ctx := open(t, source()), t.Context()
		worker := pod("a", 0)
		worker.Identity = Identity{"spark", SourceEnvironment}
		require.NoError(t, s.Apply(ctx, seen(worker)))
		require.NoError(t, s.Roll(ctx, begin+Hour))
		require.Equal(t, map[string]int64{"spark": 3600}, cpu(t, s, used, by(ByUser)))
		leader := Application{Key: "etl/one", Profile: Profile{Rank: OfLeader, Seen: begin, Identity: Identity{"ann", SourceLabel}}}
		require.NoError(t, s.Apply(ctx, batch([]observed{{application: &leader}})))
		require.Equal(t, map[string]int64{"ann": 3600}, cpu(t, s, used, by(ByUser)))
		require.NoError(t, s.Roll(ctx, begin+2*Hour))
		require.Equal(t, map[string]int64{"ann": 7200}, cpu(t, s, used, by(ByUser)))
		_, err := s.Check(ctx, 0, begin+2*Hour)
		require.NoError(t, err)
	})
}

func TestWhatIsIdleIsTheDifferenceToWhatNodesOffer(t *testing.T) {
	onBoth(t, func(t *testing.T, source func() string) {
		s, ctx := open(t, source()), t.Context()
		node := pod("node", -100*24*3600) // long before sums begin
		node.Kind, node.Application, node.Namespace, node.Identity = Node, "", "", Identity{}
		node.Segments = []Segment{{Seq: 1, Amounts: []Amount{{CPU, 4000}}}, {Seq: 2, Since: begin + Hour, Amounts: nil}}
		require.NoError(t, s.Apply(ctx, seen(node, ends(pod("a", 0), EndContainers, 1800))))
		require.NoError(t, s.Roll(ctx, begin+2*Hour))
		ask := by(ByClass)
		ask.Capacity = true
		require.Equal(t, map[string]int64{"large": 4 * 5400}, cpu(t, s, offered, ask), "since the epoch, the hour of the first start, until it offered nothing more")
		require.Equal(t, map[string]int64{"large": 1800}, cpu(t, s, used, ask))
		require.Empty(t, cpu(t, s, offered, by(ByClass)), "only whoever asks for it is told")
		ask.Namespaces = []string{"other"}
		require.Equal(t, map[string]int64{}, cpu(t, s, used, ask))
	})
}

func TestWhatIsPurgedStaysCountedAndIsNotCountedAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, source func() string) {
		s, ctx := open(t, source()), t.Context()
		application := Application{Key: "etl/one", Submitted: begin, Profile: Profile{Rank: OfLeader, Seen: begin, Namespace: "etl", Identity: Identity{"ann", SourceLabel}}}
		all := seen(ends(pod("a", 0), EndContainers, 600), pod("b", 0))
		all.Applications[application.Key] = application
		all.Waits[application.Key] = []Wait{{At: begin, Reason: "ClusterFull"}}
		require.NoError(t, s.Apply(ctx, all))
		require.NoError(t, s.Roll(ctx, begin+5*Hour))
		want := cpu(t, s, used, Usage{By: []string{ByUser, ByResource}, Daily: true})
		removed, err := s.Purge(ctx, Retention{Spans: begin + 3*Hour, Applications: begin + 3*Hour, Hours: begin + 2*Hour})
		require.NoError(t, err)
		require.Positive(t, removed)
		story, err := s.Story(ctx, "etl/one")
		require.NoError(t, err, "it has a pod that runs")
		require.Len(t, story.Spans, 1)
		require.Equal(t, want, cpu(t, s, used, Usage{By: []string{ByUser, ByResource}, Daily: true}))
		require.Less(t, cpu(t, s, used, by(ByUser))["ann"], want["ann"], "hours went")
		// The object of the finished pod is still in the cluster, and a meter that starts sees it.
		require.NoError(t, s.Apply(ctx, seen(ends(pod("a", 0), EndContainers, 600))))
		require.Equal(t, want, cpu(t, s, used, Usage{By: []string{ByUser, ByResource}, Daily: true}))
		_, err = s.Check(ctx, 0, begin+5*Hour)
		require.NoError(t, err)
		// Everything ends, and goes.
		require.NoError(t, s.Apply(ctx, seen(ends(pod("b", 0), EndContainers, 3*3600))))
		_, err = s.Purge(ctx, Retention{Spans: begin + 4*Hour, Applications: begin + 4*Hour})
		require.NoError(t, err)
		_, err = s.Story(ctx, "etl/one")
		require.ErrorIs(t, err, ErrNone)
		require.NotContains(t, s.dump(t), "wait etl/one")
		require.NotContains(t, s.dump(t), "segment ")
	})
}

// TestMetersAtOnceAreOne: two meters that see everything, at the same time, leave what one leaves.
func TestMetersAtOnceAreOne(t *testing.T) {
	onBoth(t, func(t *testing.T, source func() string) {
		ctx, shared := t.Context(), source()
		meters := []*Store{open(t, shared), open(t, shared)}
		var failed [2]error
		var both sync.WaitGroup
		for i, s := range meters {
			both.Go(func() {
				for n := range int64(40) {
					spans := []Span{pod(fmt.Sprint("uid", n), n), ends(pod(fmt.Sprint("uid", n/2), n/2), EndContainers, n/2+100)}
					if failed[i] = s.Apply(ctx, seen(spans...)); failed[i] != nil {
						return
					}
					if failed[i] = s.Roll(ctx, begin+n*Hour/10); failed[i] != nil {
						return
					}
				}
			})
		}
		both.Wait()
		require.Equal(t, [2]error{}, failed)
		one := open(t, source())
		for n := range int64(40) {
			require.NoError(t, one.Apply(ctx, seen(pod(fmt.Sprint("uid", n), n), ends(pod(fmt.Sprint("uid", n/2), n/2), EndContainers, n/2+100))))
		}
		require.NoError(t, one.Roll(ctx, begin+39*Hour/10))
		require.Equal(t, one.dump(t), meters[0].dump(t))
	})
}

func TestHostileTextsAreStored(t *testing.T) {
	onBoth(t, func(t *testing.T, source func() string) {
		s, ctx := open(t, source()), t.Context()
		nasty := "a\x00'; DROP TABLE span; -- \xff" + strings.Repeat("é", 2000)
		span := pod("a", 0)
		span.User, span.Name, span.Class, span.Queue = nasty, nasty, nasty, nasty
		all := seen(span)
		all.Applications["etl/one"] = Application{Key: "etl/one", Profile: Profile{Rank: OfWorker, Name: nasty, Identity: Identity{User: nasty}}}
		all.Waits["etl/one"] = []Wait{{At: 1, Reason: nasty, Message: nasty}}
		require.NoError(t, s.Apply(ctx, all))
		require.NoError(t, s.Roll(ctx, begin+Hour))
		story, err := s.Story(ctx, "etl/one")
		require.NoError(t, err)
		require.Len(t, story.Spans, 1)
		require.Contains(t, story.Name, "DROP TABLE")
		require.LessOrEqual(t, len(story.Name), maxText)
	})
}

func TestApplicationsAreListedInPages(t *testing.T) {
	onBoth(t, func(t *testing.T, source func() string) {
		s, ctx := open(t, source()), t.Context()
		all := seen(pod("a", 0), ends(pod("b", 0), EndContainers, 60))
		for i, key := range []string{"etl/one", "etl/two", "ml/three", "ml/four"} {
			namespace, _, _ := strings.Cut(key, "/")
			all.Applications[key] = Application{Key: key, Submitted: begin + int64(i/2), Bound: int64(i), Profile: Profile{Rank: OfLeader, Namespace: namespace, Name: "daily", Queue: namespace, Identity: Identity{User: "ann"}}}
		}
		b := all.Spans["b"]
		b.Application = "etl/two"
		all.Spans["b"] = b
		require.NoError(t, s.Apply(ctx, all))
		list := func(filter Filter) (found []string) {
			applications, err := s.Applications(ctx, filter)
			require.NoError(t, err)
			for _, application := range applications {
				found = append(found, application.Key+" "+application.State())
			}
			return found
		}
		require.Equal(t, []string{"ml/three Waiting", "ml/four Waiting", "etl/two Finished", "etl/one Running"}, list(Filter{}))
		require.Equal(t, []string{"ml/four Waiting", "etl/two Finished"}, list(Filter{Limit: 2, Before: Page{begin + 1, "ml/three"}}))
		require.Equal(t, []string{"etl/one Running"}, list(Filter{State: StateRunning, User: "ann", Name: "daily", Queue: "etl"}))
		require.Equal(t, []string{"etl/two Finished"}, list(Filter{State: StateFinished}))
		require.Equal(t, []string{"ml/three Waiting", "ml/four Waiting"}, list(Filter{State: StateWaiting, Namespaces: []string{"ml", "etl"}}))
		require.Empty(t, list(Filter{Namespaces: []string{}}), "who may see nothing sees nothing")
		require.Empty(t, list(Filter{User: "bob"}))
		unstarted, err := s.Unstarted(ctx)
		require.NoError(t, err)
		require.Equal(t, []string{"etl/one"}, unstarted, "which says it was bound at 0: never")
	})
}

func TestADatabaseThatCannotBeUsedIsRefused(t *testing.T) {
	ctx := t.Context()
	onBoth(t, func(t *testing.T, source func() string) {
		at := source()
		s := open(t, at)
		_, err := s.writer.Exec(`UPDATE state SET value = 99 WHERE name = 'schema'`)
		require.NoError(t, err)
		_, err = Open(ctx, at, begin)
		require.ErrorIs(t, err, ErrVersion)
	})
	_, err := Open(ctx, "/no/such/directory/history.db", begin)
	require.Error(t, err)
	_, err = Open(ctx, "postgres://nobody@/none?host=/no/such/directory", begin)
	require.Error(t, err)
}

func TestABackupIsWhole(t *testing.T) {
	s, ctx := open(t, filepath.Join(t.TempDir(), "a ?#%history.db")), t.Context()
	require.NoError(t, s.Apply(ctx, seen(pod("a", 0))))
	require.NoError(t, s.Roll(ctx, begin+Hour))
	copied := filepath.Join(t.TempDir(), "copy.db")
	require.NoError(t, s.Backup(ctx, copied))
	require.Equal(t, s.dump(t), open(t, copied).dump(t))
}
