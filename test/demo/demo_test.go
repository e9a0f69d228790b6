package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/test/sparksim/chronicle"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// Applications of three executors, in every state.
var (
	pending   = chronicle.Application{Driver: "x", Phase: v1.PodPending}
	behind    = chronicle.Application{Driver: "x", Phase: v1.PodPending, Reason: "0/4 nodes are available: ClusterFull: 1 of 3 executors fit: cpu 6 asked for in all, 3 free on 4 nodes."}
	tooLarge  = chronicle.Application{Driver: "x", Phase: v1.PodPending, Reason: "NeverFitsCluster: too large"}
	bound     = chronicle.Application{Driver: "x", Phase: v1.PodRunning, Node: "n", Slots: 3, Bound: noon}
	running   = chronicle.Application{Driver: "x", Phase: v1.PodRunning, Node: "n", Slots: 3, Bound: noon, Running: 3, MostRunning: 3}
	ending    = chronicle.Application{Driver: "x", Phase: v1.PodRunning, Node: "n", Slots: 3, Bound: noon, Running: 1, MostRunning: 3}
	half      = chronicle.Application{Driver: "x", Phase: v1.PodRunning, Node: "n", Bound: noon, Running: 1, MostRunning: 1, Pending: 2, Refused: 2, HalfStarted: "12:00: half"}
	succeeded = chronicle.Application{Driver: "x", Phase: v1.PodSucceeded, Node: "n", Slots: 3, Bound: noon, Ended: noon.Add(9 * time.Second), MostRunning: 3,
		Reason: behind.Reason}
	crashed = chronicle.Application{Driver: "x", Phase: v1.PodFailed, Node: "n", Bound: noon, Ended: noon}
)

func TestEveryFateHasItsWords(t *testing.T) {
	for want, a := range map[string]chronicle.Application{
		"is being submitted": {Name: "x"},
		"waits":              pending,
		"waits: ClusterFull: 1 of 3 executors fit: cpu 6 asked for in all, 3 free on 4 nodes": behind,
		"will not start: NeverFitsCluster: too large":                                         tooLarge,
		"starts: room for all 3 executors is kept":                                            bound,
		"its driver runs, its executors are to come":                                          {Driver: "x", Phase: v1.PodRunning, Node: "n"},
		"runs whole: 3 of 3 executors":                                                        running,
		"ends":                                                                                ending,
		"HALF-STARTED: 1 of 3 executors run, 2 find no room":                                  half,
		"done 9 s after its start, whole all the time":                                        succeeded,
		"failed": crashed,
	} {
		require.Equal(t, want, words(a, 3))
	}
}

func TestReasonsAreTakenOutOfWhatKubeSchedulerWritesAroundThem(t *testing.T) {
	require.Equal(t, "ClusterFull", reasonCode(behind.Reason))
	require.Equal(t, "NeverFitsCluster", reasonCode(tooLarge.Reason))
	require.Empty(t, reasonCode("0/4 nodes are available: 4 Insufficient cpu. preemption: 0/4 nodes are available"))
	require.Equal(t, "0/4 nodes are available: 4 Insufficient cpu", reasonText("0/4 nodes are available: 4 Insufficient cpu."))
}

func TestTheSizesAreATrapForASchedulerThatPlacesPodByPod(t *testing.T) {
	apps := applications()
	require.Equal(t, nodes*nodeCPU, len(apps)*podCPU, "the drivers fill the cluster")
	small, large := 0, 0
	for _, app := range apps {
		if app.fits() {
			small += app.cpu()
		} else {
			large++
		}
	}
	require.Greater(t, small, 2*nodes*nodeCPU, "not all fit at once")
	require.Equal(t, 1, large)
	require.LessOrEqual(t, len(apps), 26, "every application has a letter")
}

func TestThePictureFitsAnOrdinaryTerminal(t *testing.T) {
	apps := applications()
	r := result{applications: byName(apps, nil)}
	for i, a := range []chronicle.Application{behind, tooLarge, bound, running, half, succeeded} {
		a.Name = apps[i].name
		r.applications[i] = a
	}
	seats := []chronicle.Node{{Name: "node-0000", CPU: 8000, Seat: []chronicle.Seat{
		{Application: "ml-train", Kind: chronicle.Driver, CPU: 2000}, {Application: "daily-report", Kind: chronicle.Executor, CPU: 2000},
		{Application: "ml-train", Kind: chronicle.Kept, CPU: 2000}}}}
	for _, colour := range []bool{false, true} {
		picture := newBoard(apps, style{colour}).picture(r, seats, 12*time.Second)
		require.Less(t, len(picture), 24)
		var shown []string
		for _, line := range picture {
			shown = append(shown, cut(line, 99))
		}
		if colour {
			continue
		}
		require.Equal(t, "    12 s   1 whole, 1 starting, 1 half-started, 12 waiting, 1 done", shown[0])
		require.Equal(t, "  00 CCdd++··", shown[1])
		require.Equal(t, "  ● d daily-report         2   6  runs whole: 3 of 2 executors", shown[6])
		for _, line := range shown {
			require.LessOrEqual(t, len([]rune(line)), 99)
		}
	}
}

func TestOnlyChangesOfFateAreNews(t *testing.T) {
	apps := []application{{"a", 3}}
	b := newBoard(apps, style{})
	news := func(a chronicle.Application) string {
		return strings.Join(b.news(result{applications: []chronicle.Application{a}}, time.Second), "|")
	}
	require.Empty(t, news(pending), "no reason yet")
	require.Contains(t, news(behind), "waits: ClusterFull")
	other := behind
	other.Reason = "ClusterFull: 2 of 3 executors fit"
	require.Empty(t, news(other), "other numbers are no news")
	require.Contains(t, news(bound), "starts")
	require.Contains(t, news(running), "runs whole")
	require.Empty(t, news(ending))
	require.Contains(t, news(succeeded), "done")
}

func TestLinesAreCutWithoutTheirColours(t *testing.T) {
	require.Equal(t, "abc", cut("abc", 3))
	require.Equal(t, "ab…", cut("abcd", 3))
	require.Equal(t, "\x1b[31mab…\x1b[0m", cut("\x1b[31mabcd\x1b[0m", 3))
	require.Equal(t, "\x1b[31mabc\x1b[0m", cut("\x1b[31mabc\x1b[0m", 3))
	require.Equal(t, "żó…", cut("żółw", 3))
}

func TestTheDemoClaimsOnlyWhatItSaw(t *testing.T) {
	apps := []application{{"fits", 3}, {"large", 20}}
	good := result{applications: []chronicle.Application{succeeded, tooLarge}}
	bad := result{applications: []chronicle.Application{half, half}}
	require.Empty(t, claims(good, bad, apps))
	require.Equal(t, tally{startedWhole: 1, finished: 1, told: 1, waited: 1}, count(good, apps))
	require.Equal(t, tally{halfStarted: 2}, count(bad, apps))

	change := func(do func(*chronicle.Application)) result {
		a := succeeded
		do(&a)
		return result{applications: []chronicle.Application{a, tooLarge}}
	}
	for want, retinue := range map[string]result{
		"half-started fits":                change(func(a *chronicle.Application) { a.HalfStarted = "then" }),
		"fits did not finish":              change(func(a *chronicle.Application) { a.Phase = v1.PodFailed }),
		"fits was started with 2 slots":    change(func(a *chronicle.Application) { a.Slots = 2 }),
		"fits never ran with all":          change(func(a *chronicle.Application) { a.MostRunning = 2 }),
		"no application had to wait":       change(func(a *chronicle.Application) { a.Reason = "" }),
		"large is larger than the cluster": {applications: []chronicle.Application{succeeded, pending}},
		"overbooked: n":                    {applications: good.applications, overbooked: []string{"n"}},
	} {
		denied := claims(retinue, bad, apps)
		require.Len(t, denied, 1, want)
		require.ErrorContains(t, denied[0], want)
	}
	require.Len(t, claims(good, good, apps), 1, "the contrast is a claim as well")
}
