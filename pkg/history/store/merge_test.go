package store

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// begin is when everything in these tests happens: half past nine on some day.
const begin = 20_000*Day + 9*Hour + Hour/2

// moment is some time of the six hours from begin, often one that another draw gives as well.
func moment(t *rapid.T, label string) int64 {
	if rapid.Bool().Draw(t, label+" round") {
		return begin + rapid.Int64Range(0, 12).Draw(t, label)*Hour/2
	}
	return begin + rapid.Int64Range(0, 6*Hour).Draw(t, label)
}

var identities = rapid.SampledFrom([]Identity{{"ann", SourceLabel}, {"bob", SourceEnvironment}, {"system:serviceaccount:etl:spark", SourceServiceAccount}})

func evidence(t *rapid.T, label string, ranks int) Evidence {
	found := Evidence{Rank: rapid.IntRange(0, ranks).Draw(t, label+" rank")}
	if found.Rank > 0 {
		found.At = moment(t, label)
	}
	return found
}

// seenSpan is any observation of one of a few spans, true or not.
func seenSpan(t *rapid.T) Span {
	n := rapid.IntRange(0, 4).Draw(t, "span")
	span := Span{UID: fmt.Sprint("uid", n), Kind: Pod, Start: evidence(t, "start", 3), End: evidence(t, "end", 5), Alive: moment(t, "alive"),
		Lost: rapid.IntRange(0, 5).Draw(t, "lost") == 0}
	span.Start.Rank = max(span.Start.Rank, 1)
	span.Start.At = max(span.Start.At, begin-Hour)
	if span.End.Rank == EndInferred {
		span.End.Uncertainty = rapid.Int64Range(0, 3).Draw(t, "uncertainty") * 1000
	}
	if span.End.Rank > 0 {
		span.End.Reason = rapid.SampledFrom([]string{"Succeeded", "Deleted"}).Draw(t, "reason")
	}
	span.Description = Description{
		Rank: rapid.IntRange(0, 1).Draw(t, "known"), Seen: moment(t, "seen"), Namespace: "etl", Name: span.UID, Node: "node",
		Application: rapid.SampledFrom([]string{"etl/one", "etl/two"}).Draw(t, "application"),
		Class:       rapid.SampledFrom([]string{"", "large"}).Draw(t, "class"), Queue: rapid.SampledFrom([]string{"", "etl"}).Draw(t, "queue"),
		Identity: identities.Draw(t, "identity"),
	}
	if n == 0 {
		span.Kind, span.Application, span.Namespace, span.Queue, span.Identity = Node, "", "", "", Identity{}
	}
	for seq := int64(1); seq <= 3; seq++ {
		if seq == 1 || rapid.Bool().Draw(t, "resized") {
			span.Segments = append(span.Segments, Segment{Seq: seq, Since: moment(t, "since"), Amounts: []Amount{
				{CPU, rapid.Int64Range(1, 4).Draw(t, "cpu") * 333}, {Memory, rapid.Int64Range(1, 3).Draw(t, "memory") * 1001}, {"nvidia.com/gpu", seq}}})
		}
	}
	return span
}

func seenApplication(t *rapid.T) Application {
	application := Application{Key: rapid.SampledFrom([]string{"etl/one", "etl/two"}).Draw(t, "key"), Submitted: moment(t, "submitted"),
		Profile: Profile{Rank: rapid.IntRange(OfWorker, OfLeader).Draw(t, "rank"), Seen: moment(t, "seen"), Namespace: "etl",
			Name: rapid.SampledFrom([]string{"daily", "weekly"}).Draw(t, "name"), Kind: "Spark", Priority: rapid.Int64Range(0, 2).Draw(t, "priority"),
			Identity: identities.Draw(t, "identity")},
		End: evidence(t, "end", 5)}
	if rapid.Bool().Draw(t, "bound") {
		application.Bound = moment(t, "bound at")
	}
	if rapid.Bool().Draw(t, "waits") {
		application.Last = Wait{At: moment(t, "waits at"), Reason: rapid.SampledFrom([]string{"ClusterFull", "QueueLimit", ""}).Draw(t, "waits for")}
	}
	return application
}

// TestMergingIsAJoin: the order of observations, and how often they come, make no difference. With it every other order follows.
func TestMergingIsAJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for range 20 {
			a, b, c := seenSpan(t), seenSpan(t), seenSpan(t)
			b.UID, b.Kind, c.UID, c.Kind = a.UID, a.Kind, a.UID, a.Kind
			require.Equal(t, a.Merge(b), b.Merge(a))
			require.Equal(t, a.Merge(b).Merge(c), a.Merge(b.Merge(c)))
			require.Equal(t, a.Merge(b), a.Merge(b).Merge(b))
			require.Equal(t, a, Span{}.Merge(a))

			x, y, z := seenApplication(t), seenApplication(t), seenApplication(t)
			y.Key, z.Key = x.Key, x.Key
			require.Equal(t, x.Merge(y), y.Merge(x))
			require.Equal(t, x.Merge(y).Merge(z), x.Merge(y.Merge(z)))
			require.Equal(t, x.Merge(y), x.Merge(y).Merge(y))
			require.Equal(t, x, Application{}.Merge(x))
		}
	})
}

func TestBetterEvidenceForAnEndWins(t *testing.T) {
	open := Span{UID: "a", Start: Evidence{At: begin, Rank: StartScheduled}, Alive: begin + 10_000}
	ended := func(spans ...Span) (int64, bool) {
		merged := open
		for _, span := range spans {
			merged = merged.Merge(span)
		}
		at, over := merged.Ended()
		return at - begin, over
	}
	end := func(rank int, after int64) Span { return Span{UID: "a", End: Evidence{At: begin + after, Rank: rank}} }
	alive := func(after int64) Span { return Span{UID: "a", Alive: begin + after} }
	for name, test := range map[string]struct {
		spans []Span
		want  int64
		over  bool
	}{
		"nothing says that it ended":                         {nil, -begin, false},
		"containers go before the deletion":                  {[]Span{end(EndDeleted, 60_000), end(EndContainers, 50_000)}, 50_000, true},
		"and after it":                                       {[]Span{end(EndContainers, 50_000), end(EndDeleted, 60_000)}, 50_000, true},
		"what was inferred gives way":                        {[]Span{end(EndInferred, 20_000), end(EndNodeLost, 15_000)}, 15_000, true},
		"what was inferred is taken back by a later sight":   {[]Span{end(EndInferred, 20_000), alive(30_000)}, -begin, false},
		"an earlier sight takes nothing back":                {[]Span{end(EndInferred, 20_000), alive(19_000)}, 20_000, true},
		"a later sight takes back nothing that was seen":     {[]Span{end(EndDeleted, 20_000), alive(30_000)}, 20_000, true},
		"the last container counts":                          {[]Span{end(EndContainers, 50_000), end(EndContainers, 55_000)}, 55_000, true},
		"the first sight of a deletion counts":               {[]Span{end(EndDeleted, 50_000), end(EndDeleted, 49_000)}, 49_000, true},
		"nothing ends before it starts, whatever clocks say": {[]Span{end(EndContainers, -5_000)}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			at, over := ended(test.spans...)
			require.Equal(t, test.over, over)
			require.Equal(t, test.want, at)
		})
	}
}

// TestWhereItIsCutMakesNoDifference: the hours of a span add up to the whole to the last unit, and each is right to one unit.
func TestWhereItIsCutMakesNoDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		span, until := seenSpan(t), begin+7*Hour
		sums, parts := cells{}, cells{}
		span.cut(sums, span.Identity, 0, until, 1)
		middle := moment(t, "middle")
		span.cut(parts, span.Identity, 0, middle, 1)
		span.cut(parts, span.Identity, middle, until, 1)
		require.Equal(t, sums, parts)

		total, used := map[string]int64{}, span.Used(until)
		for cell, sum := range sums {
			total[cell.Resource] += sum.Used + sum.Capacity
			require.InDelta(t, naive(&span, cell.Resource, cell.Hour, cell.Hour+Hour, until), sum.Used+sum.Capacity, 3, "%+v", cell)
			require.True(t, sum.Lost == 0 || sum.Lost == sum.Used && span.Lost)
		}
		for resource, amount := range used {
			require.Equal(t, amount, total[resource], resource)
		}
		span.cut(sums, span.Identity, 0, until, -1)
		require.Empty(t, sums, "what is taken out again leaves nothing")
	})
}

// naive is what a span used of a resource between two times: second by second, without segments that touch.
func naive(span *Span, resource string, from, to, until int64) float64 {
	end, over := span.Ended()
	if !over {
		end = until
	}
	const step = 1000
	sum := 0.0
	for at := max(from, span.Start.At); at < min(to, end); at += step {
		last := min(at+step, to, end)
		// the segment that holds at a time is the last that began; one before it began no later than it
		for at < last {
			held, next := span.Segments[0], last
			for _, segment := range span.Segments[1:] {
				if segment.Since <= at {
					held = segment
				} else {
					next = min(next, segment.Since)
				}
			}
			for _, amount := range held.Amounts {
				if amount.Resource == resource {
					sum += float64(amount.Value) * float64(next-at) / 1000
				}
			}
			at = next
		}
		at = last - step
	}
	return sum
}

// TestSumsStayWithinBounds: however much hostile pods ask for, an hour's sum over as many as a cluster holds is a number.
func TestSumsStayWithinBounds(t *testing.T) {
	const pods = 150_000
	require.Greater(t, int64(1)<<62, pods*product(MaxValue, Hour))
	require.Greater(t, product(MaxValue, 20*366*Day), int64(0), "nor that of one pod over twenty years")
	require.Equal(t, int64(1<<63-1), product(1<<62, 1<<62))
	require.Equal(t, int64(0), product(5, -1))
	require.Equal(t, int64(3), product(5, 500), "rounded half up")
}
