package waiting

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/quota"
)

// rehearsing is a gang of a namespace that has to be rehearsed, of a shape that nobody has seen.
func rehearsing(id, namespace string) Request {
	asked := asking(id, "", 1, 1, 0)
	asked.Asks.Signature, asked.Rehearsed = id, true
	asked.Turn.Gang = gang.Key{Namespace: namespace, Name: id}
	return asked
}

// TestShapesThatNobodyHasSeenRestAfterRehearsals: twenty gangs, each of a shape of its own, cost two seconds each.
//
// Seen failing when only those rested that had failed themselves, and no namespace: all were rehearsed, 6.4 s of a minute.
func TestShapesThatNobodyHasSeenRestAfterRehearsals(t *testing.T) {
	const took = 200 * time.Millisecond
	r := New(quota.New(nil))
	free := cores(1000)
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"}
	for _, name := range names {
		r.Put(start, rehearsing(name, "hostile"))
	}
	tried, others := 0, 0
	for second := range 60 {
		now := start.Add(time.Duration(second) * time.Second)
		if second == 30 {
			r.Put(now, rehearsing("first of another", "other"))
		}
		for {
			w, _ := r.Next(now, free)
			if w == nil {
				break
			}
			r.Began(w, now)
			if w.Turn.Gang.Namespace == "other" {
				others++
				Answered(r, "other", took, now)
				r.Started(w.ID())
				continue
			}
			tried++
			r.Failed(w, Failure{Epoch: r.Epoch(), Verdict: gang.Verdict{Reason: gang.ClusterFull}, Rehearsed: true, Took: took}, now)
		}
		require.NoError(t, r.Check(now, free))
	}
	assert.LessOrEqual(t, time.Duration(tried)*took, time.Minute/200+took, "a tenth of the twentieth of a minute")
	assert.Equal(t, 1, others, "nobody else waits for them")
}

// TestOneNamespaceHasATenthOfAllRehearsals: those that lead to something cost time as well.
//
// Seen failing when no namespace rested: one took the whole minute.
func TestOneNamespaceHasATenthOfAllRehearsals(t *testing.T) {
	const took = 100 * time.Millisecond
	r := New(quota.New(nil))
	spent := time.Duration(0)
	for now := start; now.Before(start.Add(time.Minute)); now = now.Add(took) {
		r.Put(now, rehearsing(now.String(), "hostile"))
		if w, _ := r.Next(now, cores(1000)); w != nil {
			r.Began(w, now)
			spent += took
			Answered(r, "hostile", took, now)
			r.Started(w.ID())
		}
	}
	assert.Positive(t, spent)
	assert.LessOrEqual(t, spent, time.Minute/9+took)
	Answered(r, "other", took, start.Add(time.Hour))
	assert.Len(t, r.passes.ofNamespace, 1, "whose time is over is forgotten")
}

// TestARehearsalThatWasCutGoesOnWhenOthersHaveHadTheirTime: nothing has to happen before, and none of its namespace has to wait for longer.
//
// Seen failing when it was taken for one that had failed: it waited for ten seconds, and its namespace for nineteen.
func TestARehearsalThatWasCutGoesOnWhenOthersHaveHadTheirTime(t *testing.T) {
	const took = 100 * time.Millisecond
	r := New(quota.New(nil))
	r.Put(start, rehearsing("large", "one"))
	w, _ := r.Next(start, cores(1000))
	require.NotNil(t, w)
	r.Began(w, start)
	cut := Failure{Verdict: gang.Verdict{Reason: gang.Constraints}, Rehearsed: true, Cut: true, Took: took}
	r.Failed(w, cut, start)
	after := func(rests int) (next []types.UID) {
		at := start.Add(time.Duration(rests) * restFactor * took)
		early, _ := r.Next(at.Add(-time.Millisecond), cores(1000))
		require.Nil(t, early, "nobody is rehearsed")
		for {
			w, _ := r.Next(at, cores(1000))
			if w == nil {
				require.NoError(t, r.Check(at, cores(1000)))
				return next
			}
			r.Began(w, at)
			next = append(next, w.ID())
			r.Failed(w, cut, at)
		}
	}
	assert.Equal(t, []types.UID{"large"}, after(1), "there is nobody else")
	r.Put(start.Add(restFactor*took), rehearsing("other", "two"))
	assert.Equal(t, []types.UID{"other"}, after(2), "who has had no time for longest")
	assert.Equal(t, []types.UID{"large"}, after(3))
	assert.Equal(t, []types.UID{"other"}, after(4))
}

// TestThoseOnTheirWayRestAsWell: as many as start one after another are let through at once, before anybody knows what they cost.
func TestThoseOnTheirWayRestAsWell(t *testing.T) {
	const took = 100 * time.Millisecond
	r := New(quota.New(nil))
	for i := range 200 {
		r.Put(start, rehearsing(fmt.Sprint(i), "hostile"))
	}
	spent := time.Duration(0)
	var onTheirWay []*Waiter
	for now := start; now.Before(start.Add(time.Minute)); now = now.Add(took) {
		for w, _ := r.Next(now, cores(1000)); w != nil; w, _ = r.Next(now, cores(1000)) {
			r.Began(w, now)
			onTheirWay = append(onTheirWay, w)
		}
		if len(onTheirWay) == 0 {
			continue
		}
		w := onTheirWay[0]
		onTheirWay = onTheirWay[1:]
		if r.Entered(w.ID(), 0, now); !w.Trying() {
			continue // it is turned away
		}
		spent += took
		Answered(r, "hostile", took, now)
		r.Started(w.ID())
		require.NoError(t, r.Check(now, cores(1000)))
	}
	assert.Positive(t, spent)
	assert.LessOrEqual(t, spent, time.Minute/9+took)
}

// TestWhoseAnswerIsCostlyRestsAlone: a gang of many roles that does not fit, and others that fail at little cost.
//
// Seen failing when what answers cost was summed up, whoever had caused it: all waited two seconds.
func TestWhoseAnswerIsCostlyRestsAlone(t *testing.T) {
	r := New(quota.New(nil))
	free := cores(1000)
	r.Put(start, asking("costly", "", 1, 2, 0))
	r.Put(start, asking("cheap", "", 1, 1, 0))
	tried := map[string]int{}
	for hundredth := range 400 { // of a second
		now := start.Add(time.Duration(hundredth) * time.Second / 100)
		r.Changed(Freed, free, nil)
		for {
			w, _ := r.Next(now, free)
			if w == nil {
				break
			}
			r.Began(w, now)
			tried[string(w.ID())]++
			took := time.Millisecond
			if w.ID() == "costly" {
				took = 100 * time.Millisecond
			}
			r.Failed(w, Failure{Epoch: r.Epoch(), Verdict: gang.Verdict{Reason: gang.ClusterFull}, Took: took}, now)
		}
		require.NoError(t, r.Check(now, free))
	}
	assert.Equal(t, map[string]int{"costly": 3, "cheap": 200}, tried, "19 × 100 ms between the attempts of one, a rest of 19 ms between those of the other")
}

// TestOneNamespaceHasATenthOfAllCostlyAnswers: every gang is of a shape that nobody has seen, and of many roles.
//
// Seen failing when whoever was costly rested alone: one namespace took all of the time.
func TestOneNamespaceHasATenthOfAllCostlyAnswers(t *testing.T) {
	const took = 50 * time.Millisecond
	for name, fails := range map[string]bool{"that are in vain": true, "that lead to something": false} {
		t.Run(name, func(t *testing.T) {
			r := New(quota.New(nil))
			free := cores(1000)
			spent, others := time.Duration(0), 0
			for now := start; now.Before(start.Add(time.Minute)); now = now.Add(took) {
				asked := asking(now.String(), "", 1, 1, 0)
				asked.Asks.Signature, asked.Costly = now.String(), true
				asked.Turn.Gang = gang.Key{Namespace: "hostile", Name: now.String()}
				r.Put(now, asked)
				cheap := asking("cheap "+now.String(), "", 1, 1, 0)
				cheap.Asks.Signature = "cheap"
				cheap.Turn.Gang = gang.Key{Namespace: "hostile", Name: "cheap " + now.String()}
				r.Put(now, cheap)
				for w, _ := r.Next(now, free); w != nil; w, _ = r.Next(now, free) {
					r.Began(w, now)
					switch {
					case !w.Costly:
						others++
						r.Started(w.ID())
					case fails:
						spent += took
						r.Failed(w, Failure{Epoch: r.Epoch(), Verdict: gang.Verdict{Reason: gang.ClusterFull}, Took: took}, now)
					default:
						spent += took
						Answered(r, "hostile", took, now)
						r.Started(w.ID())
					}
				}
				require.NoError(t, r.Check(now, free))
			}
			assert.Positive(t, spent)
			assert.LessOrEqual(t, spent, time.Minute/9+took)
			assert.Equal(t, int(time.Minute/took), others, "who costs next to nothing does not rest")
		})
	}
}

// TestManyWhomFiltersRefuseAreTriedAgainTheMoreSeldom: nothing that happens wakes them but time.
//
// Seen failing when each was tried again after 10 to 15 seconds, however many there were: 5,000 pods that another's anti-affinity refuses
// took 400 scheduling cycles a second.
func TestManyWhomFiltersRefuseAreTriedAgainTheMoreSeldom(t *testing.T) {
	r := New(quota.New(nil))
	free := cores(1000)
	const many = 1000
	put := func(id, namespace string) {
		asked := asking(id, "", 1, 1, 0)
		asked.Turn.Gang = gang.Key{Namespace: namespace, Name: id}
		r.Put(start, asked)
	}
	for i := range many {
		put(fmt.Sprint("pod ", i), "crowded")
	}
	put("another", "other")
	tried, others := 0, 0
	for second := range 600 {
		now := start.Add(time.Duration(second) * time.Second)
		for w, _ := r.Next(now, free); w != nil; w, _ = r.Next(now, free) {
			if r.Began(w, now); w.Turn.Gang.Namespace == "other" {
				others++
			} else {
				tried++
			}
			r.Failed(w, Failure{Epoch: r.Epoch(), Verdict: gang.Verdict{Reason: gang.Constraints}, Alone: true}, now)
		}
		require.NoError(t, r.Check(now, free))
	}
	assert.LessOrEqual(t, tried, many+600*10, "once, and ten in a second")
	assert.Greater(t, tried, many+600*5)
	assert.Greater(t, others, 600/15-2, "nobody else waits for them")
	for i := range many {
		r.Drop(types.UID(fmt.Sprint("pod ", i)))
	}
	r.Drop("another")
	require.Empty(t, r.passes.timed)
}

// TestNobodyStarvesBehindRehearsalsInVain: gangs that are rehearsed in vain whenever it may be, somebody who fails at little cost beside them, and
// room that comes back all the time. Each of them has its turn, and whoever is last in turn not later than all others have had theirs.
//
// Seen failing when every pass of the one who fails at little cost let those begin anew who rest after one another: of three in one
// namespace the third was never rehearsed; and of twenty namespaces the last not when a namespace rested ten times as long as all.
func TestNobodyStarvesBehindRehearsalsInVain(t *testing.T) {
	for name, test := range map[string]struct {
		namespaces, each int
		took             time.Duration
	}{
		"in one namespace":                  {1, 5, 10 * time.Millisecond},
		"in many namespaces":                {20, 1, 10 * time.Millisecond},
		"in some namespaces":                {4, 3, 10 * time.Millisecond},
		"whose rests are as long as can be": {5, 2, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			r := New(quota.New(nil))
			free := cores(1000)
			r.Put(start, asking("cheap", "", 1, 1, 0))
			gangs := 0
			for namespace := range test.namespaces {
				for range test.each {
					r.Put(start, rehearsing(fmt.Sprint(gangs), fmt.Sprint("namespace ", namespace)))
					gangs++
				}
			}
			rest := max(restFactor*test.took*time.Duration(gangs), min(failedFactor*test.took, longestNamespaceRest)*time.Duration(test.each))
			const rounds = 5
			tried, last := map[types.UID]int{}, map[types.UID]time.Time{}
			for now := start; now.Before(start.Add(rounds * 2 * rest)); now = now.Add(10 * time.Millisecond) {
				r.Changed(Freed, free, nil)
				for {
					w, _ := r.Next(now, free)
					if w == nil {
						break
					}
					r.Began(w, now)
					failure := Failure{Epoch: r.Epoch(), Verdict: gang.Verdict{Reason: gang.ClusterFull}}
					if w.ID() != "cheap" {
						failure.Rehearsed, failure.Took = true, test.took
					}
					tried[w.ID()]++
					last[w.ID()] = now
					r.Failed(w, failure, now)
				}
				require.NoError(t, r.Check(now, free))
			}
			for gang := range gangs {
				assert.GreaterOrEqual(t, tried[types.UID(fmt.Sprint(gang))], rounds, "%d of %v", gang, tried)
			}
			assert.Greater(t, tried["cheap"], 100, "it does not rest")
		})
	}
}

// TestWhoIsReadyKeepsItsPlace although its namespace is rehearsed and rests meanwhile, and it is looked at after that: those who are ready are a heap.
//
// Seen failing when looking changed by what it is ordered where it stood.
func TestWhoIsReadyKeepsItsPlace(t *testing.T) {
	r := New(quota.New(nil))
	m := moment{r, start, cores(1000)}
	for i := range 3 {
		name := fmt.Sprint("namespace ", i)
		s := r.Put(start, rehearsing(fmt.Sprint(i), name)).signature
		r.passes.last[name] = start.Add(time.Duration(i) * time.Second)
		r.shelves.put(s, resting)
		require.Equal(t, ready, m.look(s))
	}
	require.NoError(t, checkSignatures(r))
	first := r.shelves.ready[0]
	r.passes.last[first.costlyIn] = start.Add(time.Minute)
	require.Equal(t, ready, m.look(first))
	require.NoError(t, checkSignatures(r))
}
