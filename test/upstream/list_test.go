package upstream_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"retinue.dev/retinue/test/upstream"
)

const page = `# Upstream

## Differences

| package | test | fails | reason |
|---|---|---|---|
| ` + "`misc` | `TestA/x` | always | it differs |" + `
| ` + "`misc` | `TestB/…` | sometimes | one \\| other |" + `

## Others

| ` + "`misc` | `TestC` | always | not in the list |" + `
`

func TestWhatIsNotRunIsLeftOutByName(t *testing.T) {
	list, err := upstream.ReadList(strings.Replace(page, "| sometimes |", "| not run |", 1), "Differences")
	require.NoError(t, err)
	require.Equal(t, []string{"^TestB$"}, upstream.LeftOut(list, "misc"))
	require.Empty(t, upstream.LeftOut(list, "other"))
	_, stale := upstream.Judge(list, "misc", upstream.Results{"TestB/one": "pass"}, upstream.Results{"TestB/one": "pass"})
	require.Empty(t, stale)
}

func TestTheListIsReadFromItsSection(t *testing.T) {
	list, err := upstream.ReadList(page, "Differences")
	require.NoError(t, err)
	require.Empty(t, cmp.Diff([]upstream.Entry{
		{Package: "misc", Test: "TestA/x", Reason: "it differs"},
		{Package: "misc", Test: "TestB/…", Sometimes: true, Reason: "one | other"},
	}, list))
}

func TestAnEntryCoversByName(t *testing.T) {
	for name, test := range map[string]struct {
		entry string
		want  []string
	}{
		"its whole name":       {"TestA/x", []string{"TestA/x"}},
		"all in a test":        {"TestA/…", []string{"TestA/x", "TestA/x_(1)", "TestA/y"}},
		"all that begin so":    {"TestA/x_(…", []string{"TestA/x_(1)"}},
		"no test of that name": {"TestC", nil},
	} {
		t.Run(name, func(t *testing.T) {
			var covered []string
			for _, other := range []string{"TestA", "TestA/x", "TestA/x_(1)", "TestA/y", "TestAB/x"} {
				if (upstream.Entry{Package: "misc", Test: test.entry}).Covers("misc", other) {
					covered = append(covered, other)
				}
			}
			require.Equal(t, test.want, covered)
			require.False(t, upstream.Entry{Package: "misc", Test: test.entry}.Covers("other", "TestA/x"))
		})
	}
}

func TestARowThatCannotBeReadIsNamed(t *testing.T) {
	for name, test := range map[string]struct{ replace, by, want string }{
		"no reason":      {"| it differs |", "| |", "no reason"},
		"unknown word":   {"| always | it differs", "| often | it differs", `"often"`},
		"too few cells":  {"| always | it differs |", "| it differs |", "want 4 cells"},
		"no such headng": {"## Differences", "## Difference", "no heading"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := upstream.ReadList(strings.Replace(page, test.replace, test.by, 1), "Differences")
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestOnlyWhatPassesWithoutAndNotWithIsLost(t *testing.T) {
	without := upstream.Results{"T": "pass", "T/a": "pass", "T/b": "pass", "T/c": "fail", "T/d": "skip", "T/e": "pass"}
	with := upstream.Results{"T": "fail", "T/a": "pass", "T/b": "fail", "T/c": "fail", "T/d": "fail"}
	require.Equal(t, []string{"T/b", "T/e"}, upstream.Lost(without, with))
}

func TestTheListIsJudgedBothWays(t *testing.T) {
	list, err := upstream.ReadList(page, "Differences")
	require.NoError(t, err)
	without := upstream.Results{"TestA": "pass", "TestA/x": "pass", "TestA/y": "pass", "TestB": "pass", "TestB/one": "pass", "TestB/two": "pass"}
	for name, test := range map[string]struct {
		with         upstream.Results
		wantUnlisted []string
		wantStale    []string
	}{
		"as listed":                        {with: upstream.Results{"TestA/x": "fail", "TestA/y": "pass", "TestB/one": "fail", "TestB/two": "pass"}},
		"another one is lost":              {with: upstream.Results{"TestA/x": "fail", "TestA/y": "fail", "TestB/one": "pass", "TestB/two": "pass"}, wantUnlisted: []string{"TestA/y"}},
		"one that always fails passes":     {with: upstream.Results{"TestA/x": "pass", "TestA/y": "pass", "TestB/one": "pass", "TestB/two": "pass"}, wantStale: []string{"TestA/x"}},
		"one was not reached":              {with: upstream.Results{"TestA/x": "fail", "TestB/one": "pass", "TestB/two": "pass"}, wantUnlisted: []string{"TestA/y"}},
		"one was skipped that passes else": {with: upstream.Results{"TestA/x": "fail", "TestA/y": "skip", "TestB/one": "pass", "TestB/two": "pass"}, wantUnlisted: []string{"TestA/y"}},
	} {
		t.Run(name, func(t *testing.T) {
			unlisted, stale := upstream.Judge(list, "misc", without, test.with)
			var names []string
			for _, entry := range stale {
				names = append(names, entry.Test)
			}
			require.Equal(t, test.wantUnlisted, unlisted)
			require.Equal(t, test.wantStale, names)
		})
	}
	t.Run("what did not run is not judged", func(t *testing.T) {
		_, stale := upstream.Judge(list, "misc", upstream.Results{"TestB/one": "pass"}, upstream.Results{"TestB/one": "pass"})
		require.Empty(t, stale)
	})
}

func TestResultsAreReadAndWhatHadNotEndedIsAbsent(t *testing.T) {
	results, err := upstream.ReadResults(strings.NewReader(`{"Action":"start"}
{"Action":"run","Test":"T"}
{"Action":"run","Test":"T/a"}
{"Action":"output","Test":"T/a","Output":"said\n"}
{"Action":"pass","Test":"T/a","Elapsed":0.1}
{"Action":"run","Test":"T/b"}
{"Action":"fail","Elapsed":1}
`))
	require.NoError(t, err)
	require.Equal(t, upstream.Results{"T": upstream.Absent, "T/a": upstream.Passed, "T/b": upstream.Absent}, results)
	require.Equal(t, []string{"T/a", "T/b"}, results.Leaves())
	require.Equal(t, 1, results.Count(upstream.Absent))
}

func TestATestIsSelectedByItsWholeName(t *testing.T) {
	require.Equal(t, `^TestA$/^1\+1_\(x\)$`, upstream.Pattern("TestA/1+1_(x)"))
}

func TestWithoutRetinueNothingNeedsToBeRunThatPassesWithItOrIsListed(t *testing.T) {
	list := []upstream.Entry{{Package: "misc", Test: "E/x"}}
	with := upstream.Results{"A": "pass", "A/x": "pass", "B": "fail", "B/x": "fail", "B/y": "pass", "C": "absent", "D": "skip", "E": "fail", "E/x": "fail", "F": "fail", "F/x": "pass"}
	require.Equal(t, []string{"B", "C", "F"}, upstream.Unjudged(list, "misc", with))
	require.Equal(t, []string{"B", "C", "E", "F"}, upstream.Unjudged(list, "other", with))
	require.NotNil(t, upstream.Unjudged(nil, "misc", upstream.Results{"A": "pass"}), "nothing is not everything")
	without := upstream.Results{"B": "pass", "B/x": "pass", "B/z": "pass", "C": "absent"}
	all := without.Besides(with)
	delete(all, "F")
	delete(all, "F/x")
	require.Equal(t, upstream.Results{"A": "pass", "A/x": "pass", "B": "pass", "B/x": "pass", "B/z": "pass", "C": "absent", "D": "skip", "E": "fail", "E/x": "fail"}, all)
	require.Equal(t, []string{"B/x", "B/z"}, upstream.Lost(all, with))
}
