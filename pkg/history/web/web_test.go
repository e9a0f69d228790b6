package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clocktesting "k8s.io/utils/clock/testing"

	"retinue.dev/retinue/pkg/history/price"
	"retinue.dev/retinue/pkg/history/store"
)

var start = time.Date(2026, 11, 29, 9, 30, 0, 0, time.UTC)

func after(seconds int64) int64 { return start.UnixMilli() + seconds*1000 }

// shown is a site and who asks it: X-Test-Name names him, and he may see the namespaces of X-Test-May.
type shown struct {
	*testing.T
	site  *Site
	store *store.Store
	clock *clocktesting.FakePassiveClock
}

func newShown(t *testing.T) *shown {
	s := &shown{T: t, clock: clocktesting.NewFakePassiveClock(start)}
	var err error
	s.store, err = store.Open(t.Context(), filepath.Join(t.TempDir(), "history.db"), start.UnixMilli())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.store.Close()) })
	prices, err := price.Read([]byte(`{currency: EUR, rates: [{resource: cpu, price: 3.6}, {resource: cpu, class: large, price: 7.2, from: "2026-11-29"}]}`))
	require.NoError(t, err)
	s.site, err = New(Outside{Store: s.store, Clock: s.clock, Prices: prices, Viewer: func(in *http.Request) (Viewer, error) {
		if in.Header.Get("X-Test-Name") == "" {
			return Viewer{}, ErrStranger
		}
		return Viewer{Name: in.Header.Get("X-Test-Name"), May: func(_ context.Context, namespace string) (bool, error) {
			if in.Header.Get("X-Test-May") == "nobody answers" {
				return false, errors.New("secret")
			}
			for _, may := range strings.Split(in.Header.Get("X-Test-May"), ",") {
				if may == "*" || may == namespace && namespace != "" {
					return true, nil
				}
			}
			return false, nil
		}}, nil
	}})
	require.NoError(t, err)
	return s
}

func (s *shown) ask(path, name, may string) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	in := httptest.NewRequest("GET", path, nil)
	in.Header.Set("X-Test-Name", name)
	in.Header.Set("X-Test-May", may)
	s.site.ServeHTTP(answer, in)
	return answer
}

// read decodes what an administrator is answered.
func read[T any](s *shown, path string) (found T) {
	s.Helper()
	answer := s.ask(path, "admin", "*")
	require.Equal(s, 200, answer.Code, answer.Body.String())
	require.NoError(s, json.Unmarshal(answer.Body.Bytes(), &found))
	return found
}

// day of a cluster: ann's application in etl, of which a pod was lost, bob's in ml, which waits, and a node.
func (s *shown) day() {
	amounts := []store.Amount{{Resource: "cpu", Value: 2000}, {Resource: "memory", Value: 4096}}
	span := func(uid, role string, begin, end int64) store.Span {
		return store.Span{UID: uid, Kind: store.Pod, Start: store.Evidence{At: after(begin), Rank: store.StartScheduled}, End: store.Evidence{At: after(end), Rank: store.EndContainers, Reason: "Succeeded"},
			Description: store.Description{Rank: 1, Seen: 1, Application: "etl/spark-1", Namespace: "etl", Name: "pod-" + uid, Role: role, Node: "node", Class: "large", Queue: "team", Identity: store.Identity{User: "ann", Source: store.SourceLabel}},
			Segments:    []store.Segment{{Seq: 1, Amounts: amounts}}}
	}
	driver, executor := span("1", "driver", 60, 660), span("2", "executor", 60, 360)
	driver.End = store.Evidence{}
	executor.Lost = true
	node := store.Span{UID: "node", Kind: store.Node, Start: store.Evidence{At: after(0), Rank: store.StartScheduled}, Description: store.Description{Rank: 1, Seen: 1, Name: "node", Node: "node", Class: "large"},
		Segments: []store.Segment{{Seq: 1, Amounts: []store.Amount{{Resource: "cpu", Value: 8000}, {Resource: "memory", Value: 8192}}}}}
	require.NoError(s, s.store.Apply(s.Context(), store.Observations{
		Spans: map[string]store.Span{"1": driver, "2": executor, "node": node},
		Applications: map[string]store.Application{
			"etl/spark-1": {Key: "etl/spark-1", Submitted: after(0), Bound: after(60), Profile: store.Profile{Rank: store.OfLeader, Seen: 1, Namespace: "etl", Name: "daily", ID: "spark-1", Kind: "Spark", Queue: "team", Identity: store.Identity{User: "ann", Source: store.SourceLabel}}},
			"ml/spark-2":  {Key: "ml/spark-2", Submitted: after(600), Profile: store.Profile{Rank: store.OfLeader, Seen: 1, Namespace: "ml", Name: "train", ID: "spark-2", Kind: "Spark", Identity: store.Identity{User: "bob", Source: store.SourceEnvironment}}, Last: store.Wait{At: after(601), Reason: "ClusterFull", Message: "ClusterFull: cpu 4 short"}},
		},
		Waits: map[string][]store.Wait{"etl/spark-1": {{At: after(1), Reason: "BehindOthers", Message: "BehindOthers: 2"}, {At: after(2), Reason: "BehindOthers"}, {At: after(3), Reason: "ClusterFull"}}},
	}))
	s.clock.SetTime(start.Add(1060 * time.Second))
	require.NoError(s, s.store.Roll(s.Context(), after(1060)))
}

func TestWhatIsTold(t *testing.T) {
	s := newShown(t)
	s.day()
	page := read[Applications](s, "/v1/apps")
	require.Len(t, page.Items, 2)
	require.Equal(t, Application{Namespace: "ml", ID: "spark-2", Name: "train", Kind: "Spark", User: "bob", IdentitySource: "environment", State: "Waiting", Reason: "ClusterFull",
		Message: "ClusterFull: cpu 4 short", Submitted: "2026-11-29T09:40:00Z", WaitSeconds: 460}, page.Items[0])
	require.Equal(t, Application{Namespace: "etl", ID: "spark-1", Name: "daily", Kind: "Spark", User: "ann", IdentitySource: "label", Queue: "team", State: "Running",
		Submitted: "2026-11-29T09:30:00Z", Started: "2026-11-29T09:31:00Z", WaitSeconds: 60, RunSeconds: 1000, Pods: 2, Running: 1}, page.Items[1])

	first := read[Applications](s, "/v1/apps?limit=1")
	require.Equal(t, page.Items[:1], first.Items)
	require.Equal(t, page.Items[1:], read[Applications](s, "/v1/apps?limit=1&page="+url.QueryEscape(first.Next)).Items)
	require.Equal(t, page.Items[1:], read[Applications](s, "/v1/apps?state=Running&user=ann&queue=team&name=daily").Items)

	story := read[Story](s, "/v1/apps/etl/spark-1")
	require.Equal(t, int64(2*1000+2*300), story.VcoreSeconds)
	require.Equal(t, int64(4096*1300), story.MemorySeconds)
	require.Equal(t, int64(2000*300), story.Lost["cpu"])
	require.Equal(t, []Wait{{"2026-11-29T09:30:01Z", "BehindOthers", "BehindOthers: 2"}, {"2026-11-29T09:30:03Z", "ClusterFull", ""}}, story.Waits)
	require.Len(t, story.Items, 2)

	queues := read[Queues](s, "/v1/queues")
	require.Equal(t, Amounts{"cpu": 8000, "memory": 8192}, queues.Capacity)
	require.Equal(t, Amounts{"cpu": 2000, "memory": 4096}, queues.Held)
	require.Len(t, queues.Items, 2)
	require.Equal(t, map[string]int64{"ClusterFull": 1}, queues.Items[0].Reasons)
	require.Equal(t, Queue{Name: "team", Namespaces: []string{"etl"}, Running: 1, Reasons: map[string]int64{}, Pods: 1, Held: Amounts{"cpu": 2000, "memory": 4096}}, queues.Items[1])
}

func TestUsageIsToldApartAndPriced(t *testing.T) {
	s := newShown(t)
	s.day()
	report := read[Report](s, "/v1/usage?by=user,namespace")
	require.Equal(t, []Usage{{Namespace: "etl", User: "ann", VcoreSeconds: 2600, MemorySeconds: 4096 * 1300, Used: Amounts{"cpu": 2_600_000, "memory": 4096 * 1300},
		Lost: Amounts{"cpu": 600_000, "memory": 4096 * 300}, Cost: 2600 * 0.002, LostCost: 600 * 0.002}}, rounded(report.Items))
	require.Equal(t, "EUR", report.Currency)
	require.Equal(t, "2026-11-29T09:47:40Z", report.Complete)
	report = read[Report](s, "/v1/usage?by=class")
	require.Len(t, report.Items, 1)
	require.InDelta(t, 100*(1-2600.0/8480), report.Items[0].Idle["cpu"], 0.01)
	require.Empty(t, read[Report](s, "/v1/usage?by=user&from=2026-11-01&until=2026-11-20").Items)
	require.Equal(t, "2026-11-29T09:00:00Z", read[Report](s, "/v1/usage?by=time&from=2026-11-29T09:00:00Z&until=2026-11-29T12:00:00Z").Items[0].Time)
	require.Empty(t, read[Report](s, "/v1/usage?by=class&namespace=ml").Items, "what nodes offer belongs to no namespace")
	table := s.ask("/v1/usage?by=user&format=csv", "admin", "*").Body.String()
	require.Equal(t, "time,namespace,queue,user,class,vcoreSeconds,memorySeconds,cost,lostCost,cpu used,cpu lost,memory used,memory lost\n,,,ann,,2600,5324800,5.200000,1.200000,2600000,600000,5324800,1228800\n", table)
	require.Equal(t, "'=1+1", plain("=1+1"))
}

func rounded(lines []Usage) []Usage {
	for i := range lines {
		lines[i].Cost, lines[i].LostCost = float64(int(lines[i].Cost*1e6+0.5))/1e6, float64(int(lines[i].LostCost*1e6+0.5))/1e6
	}
	return lines
}

// TestNobodySeesWhatHeMayNot: whoever asks sees the namespaces whose pods he may list, and of others not even whether something is there.
func TestNobodySeesWhatHeMayNot(t *testing.T) {
	s := newShown(t)
	s.day()
	for _, path := range []string{"/v1/apps", "/v1/queues", "/v1/usage", "/v1/usage?format=csv", "/v1/apps/etl/spark-1", "/", "/apps", "/usage", "/apps/etl/spark-1"} {
		answer := s.ask(path, "", "")
		require.Equal(t, 401, answer.Code, path)
		require.Contains(t, answer.Header().Get("WWW-Authenticate"), "Basic", path)
		require.NotContains(t, s.ask(path, "bob", "ml").Body.String(), "ann", path)
		require.NotContains(t, s.ask(path, "bob", "ml").Body.String(), "daily", path)
		broken := s.ask(path, "bob", "nobody answers")
		require.Equal(t, 503, broken.Code, path)
		require.NotContains(t, broken.Body.String(), "secret", path)
	}
	for _, path := range []string{"/v1/apps", "/v1/queues", "/v1/usage"} {
		require.Equal(t, 403, s.ask(path, "bob", "ml").Code, path)
		require.Equal(t, 403, s.ask(path+"?namespace=etl", "bob", "ml").Code, path)
		require.Equal(t, 403, s.ask(path+"?namespace=ml&namespace=etl", "bob", "ml").Code, path)
		require.Equal(t, 200, s.ask(path+"?namespace=ml", "bob", "ml").Code, path)
		require.NotContains(t, s.ask(path+"?namespace=ml", "bob", "ml").Body.String(), "ann", path)
		require.Equal(t, 400, s.ask(path+"?"+strings.Repeat("namespace=ml&", 51), "bob", "ml").Code, path)
	}
	require.Equal(t, 404, s.ask("/v1/apps/etl/spark-1", "bob", "ml").Code)
	require.Equal(t, 404, s.ask("/v1/apps/ml/none", "bob", "ml").Code, "the same answer as for one that he may not see")
	require.Equal(t, 200, s.ask("/", "bob", "ml").Code, "the page asks which namespace")
	require.Contains(t, s.ask("/", "bob", "ml").Body.String(), "name yours")
}

func TestWrongQuestionsAreRefused(t *testing.T) {
	s := newShown(t)
	for _, path := range []string{"/v1/apps?state=Sleeping", "/v1/apps?limit=0", "/v1/apps?limit=1001", "/v1/apps?limit=x", "/v1/apps?page=x", "/v1/usage?by=pod", "/v1/usage?from=yesterday",
		"/v1/usage?from=2026-01-01T00:30:00Z", "/v1/usage?from=2020-01-01&hours=1", "/usage?by=pod"} {
		require.Equal(t, 400, s.ask(path, "admin", "*").Code, path)
	}
	require.Equal(t, 404, s.ask("/nothing", "admin", "*").Code)
	require.Equal(t, 405, func() int {
		answer := httptest.NewRecorder()
		s.site.ServeHTTP(answer, httptest.NewRequest("POST", "/v1/apps", nil))
		return answer.Code
	}())
}

// TestMarkupIsText: every text that somebody may choose is shown as it is, and nothing that it says is done.
func TestMarkupIsText(t *testing.T) {
	s := newShown(t)
	const nasty = `"><script>alert(1)</script><img src=x onerror=alert(1)>' onmouseover='x`
	key := "etl/spark-1"
	span := store.Span{UID: "1", Kind: store.Pod, Alive: after(0), Start: store.Evidence{At: after(0), Rank: store.StartScheduled}, Description: store.Description{Rank: 1, Seen: 1, Application: key, Namespace: "etl", Name: nasty, Role: nasty, Node: nasty, Class: nasty, Queue: nasty, Identity: store.Identity{User: nasty, Source: nasty}},
		Segments: []store.Segment{{Seq: 1, Amounts: []store.Amount{{Resource: "cpu", Value: 1}, {Resource: nasty, Value: 1}}}}}
	ended := span
	ended.UID, ended.End = "2", store.Evidence{At: after(9), Rank: store.EndInferred, Reason: nasty, Uncertainty: 5}
	ended.Alive, ended.Lost = 0, true
	profile := store.Profile{Rank: store.OfLeader, Seen: 1, Namespace: "etl", Name: nasty, ID: nasty, Kind: nasty, Owner: nasty, Queue: nasty, Identity: store.Identity{User: nasty, Source: nasty}}
	require.NoError(t, s.store.Apply(t.Context(), store.Observations{
		Spans: map[string]store.Span{"1": span, "2": ended},
		Applications: map[string]store.Application{key: {Key: key, Submitted: 1, Profile: profile, End: store.Evidence{At: 1, Rank: store.EndInferred, Reason: nasty}},
			"etl/" + nasty: {Key: "etl/" + nasty, Submitted: 1, Profile: profile, Last: store.Wait{At: 1, Reason: nasty, Message: nasty}}},
		Waits: map[string][]store.Wait{key: {{At: 1, Reason: nasty, Message: nasty}}},
	}))
	require.NoError(t, s.store.Roll(t.Context(), after(60)))
	query := "?queue=&user=&name=&by=namespace,user,queue,class,time&namespace="
	for _, path := range []string{"/", "/apps", "/apps/etl/spark-1", "/apps/etl/" + url.PathEscape(nasty), "/usage", "/usage" + query, "/apps?queue=" + url.QueryEscape(nasty), "/apps?limit=1"} {
		answer := s.ask(path, nasty, "*")
		require.Equal(t, 200, answer.Code, "%s: %s", path, answer.Body.String())
		text := answer.Body.String()
		require.Contains(t, text, "alert(1)", path)
		for _, raw := range []string{"<script", "<img", "' onmouseover='"} {
			require.NotContains(t, text, raw, path)
		}
		policy := answer.Header().Get("Content-Security-Policy")
		require.Contains(t, policy, "default-src 'none'", path)
		require.NotContains(t, policy, "unsafe", path)
		require.NotContains(t, text, "style=", "the policy forbids it")
	}
}

func TestThePagesShowWhatTheAPITells(t *testing.T) {
	s := newShown(t)
	s.day()
	for path, wants := range map[string][]string{
		"/":                 {"2 cores", "8 cores", "25 %", "ClusterFull 1", `href="/apps?queue=team&amp;namespace=etl"`},
		"/apps":             {"daily", "train", `href="/apps/etl/spark-1"`, "Waiting", "ClusterFull", "1m0s", "1 / 2"},
		"/apps?limit=1":     {`rel="next"`},
		"/apps/etl/spark-1": {"2600 vcore-seconds", "600 vcore-seconds, in pods", "<svg", "BehindOthers", "pod-1 on node"},
		"/usage":            {"ann", "0.72", "5.20", "1.20", "EUR", "format=csv"},
		"/usage?by=class":   {"large", "69.3 %"},
	} {
		answer := s.ask(path, "admin", "*")
		require.Equal(t, 200, answer.Code, "%s: %s", path, answer.Body.String())
		for _, want := range wants {
			require.Contains(t, answer.Body.String(), want, path)
		}
	}
	require.Contains(t, s.ask("/style.css", "", "").Header().Get("Content-Type"), "text/css")
}

// TestTheAPIIsDescribed: the description names every path, and is JSON.
func TestTheAPIIsDescribed(t *testing.T) {
	s := newShown(t)
	s.day()
	var described struct{ Paths map[string]map[string]any }
	require.NoError(t, json.Unmarshal(s.ask("/openapi.json", "", "").Body.Bytes(), &described))
	require.Len(t, described.Paths, 4)
	for path := range described.Paths {
		path = strings.NewReplacer("{namespace}", "etl", "{name}", "spark-1").Replace(path)
		require.Equal(t, 200, s.ask(path, "admin", "*").Code, path)
	}
}

// BenchmarkApplications is the page of applications of which there are ten thousand.
func BenchmarkApplications(b *testing.B) {
	s, err := store.Open(b.Context(), filepath.Join(b.TempDir(), "history.db"), start.UnixMilli())
	require.NoError(b, err)
	defer s.Close()
	for n := range 20 {
		seen := store.Observations{Applications: map[string]store.Application{}, Spans: map[string]store.Span{}}
		for i := range 500 {
			key := fmt.Sprint("etl/spark-", n, "-", i)
			seen.Applications[key] = store.Application{Key: key, Submitted: after(int64(n*500 + i)), Profile: store.Profile{Rank: store.OfLeader, Seen: 1, Namespace: "etl", Name: "daily"}}
			for pod := range 5 {
				uid := fmt.Sprint(key, pod)
				seen.Spans[uid] = store.Span{UID: uid, Kind: store.Pod, Start: store.Evidence{At: after(1), Rank: 3}, Description: store.Description{Application: key, Namespace: "etl", Rank: 1, Seen: 1},
					Segments: []store.Segment{{Seq: 1, Amounts: []store.Amount{{Resource: "cpu", Value: 1000}}}}}
			}
		}
		require.NoError(b, s.Apply(b.Context(), seen))
	}
	site, err := New(Outside{Store: s, Clock: clocktesting.NewFakePassiveClock(start), Viewer: func(*http.Request) (Viewer, error) {
		return Viewer{May: func(context.Context, string) (bool, error) { return true, nil }}, nil
	}})
	require.NoError(b, err)
	for path, name := range map[string]string{"/apps": "First", "/apps?state=Running&user=": "Running", "/": "Overview", "/usage": "Usage"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				answer := httptest.NewRecorder()
				site.ServeHTTP(answer, httptest.NewRequest("GET", path, nil))
				require.Equal(b, 200, answer.Code)
			}
		})
	}
}
