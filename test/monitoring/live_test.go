package monitoring

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/test/cluster"
	prom "retinue.dev/retinue/test/monitoring/prometheus"
	"retinue.dev/retinue/test/sparksim"
)

const (
	// patience is how long anything may take that happens at all, on a busy machine.
	patience = 3 * time.Minute
	look     = 200 * time.Millisecond
)

// silent are selectors of rules that find nothing while nothing is wrong -> why. alerts.yaml has the faults on which they do.
var silent = map[string]string{
	`scheduler_schedule_attempts_total{job="retinue-metrics", result="error"}`:       "no attempt ends in an error",
	`rest_client_requests_total{job="retinue-metrics", code=~"401|403"}`:             "the scheduler has every right that it uses",
	`retinue_queue_waiting{job="retinue-metrics", parent="", reason="BehindOthers"}`: "everybody who waits has been tried, or waits for a queue",
}

// shown are the queries of all dashboards: where -> query, with every queue chosen.
func shown(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(prom.Directory + "dashboards/*.json")
	require.NoError(t, err)
	queries := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var board struct {
			Title  string
			Panels []struct {
				Title   string
				Targets []struct{ Expr, RefId string }
			}
		}
		require.NoError(t, json.Unmarshal(text, &board))
		require.NotEmpty(t, board.Panels, file)
		for _, panel := range board.Panels {
			for _, target := range panel.Targets {
				queries[strings.Join([]string{board.Title, panel.Title, target.RefId}, " / ")] = strings.NewReplacer("$__rate_interval", "30s", "$queue", ".*").Replace(target.Expr)
			}
		}
	}
	return queries
}

// selector is the choice of series in an expression.
var selector = regexp.MustCompile(`[a-z_]+\{[^}]*\}`)

// TestNoPanelIsEmpty has a Prometheus scrape a scheduler that works: applications run, one waits for the limit of its queue, one can never start, one
// is wrong, and one takes back what its queue has lent. Every query of a panel has a value then, and whatever an alert looks at is there.
//
// Seen failing with a misspelt metric in a panel, and in an alert.
func TestNoPanelIsEmpty(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a cluster")
	}
	c := cluster.ForTest(t, cluster.Config{LeaderElection: true})
	alerts, file := rules(t)
	p := &prometheus{t, prom.Scrape(t, c, file)}
	stop := load(t, c)
	defer stop()

	queries := shown(t)
	for query, why := range map[string]string{
		"sum(retinue_reclaimed_pods_total) > 0":                            "something is taken back",
		`sum(retinue_queue_waiting{parent="", reason="QueueLimit"}) > 0`:   "somebody waits for the limit of a queue",
		`sum(retinue_queue_waiting{parent="", reason=~"NeverFits.*"}) > 0`: "somebody can never start",
		`sum(retinue_queue_gangs{parent="", state="Invalid"}) > 0`:         "somebody is wrong",
		`sum(retinue_queue_lent{resource="cpu"}) > 0`:                      "somebody lends",
		`sum(retinue_queue_borrowed{queue!="(none)", resource="cpu"}) > 0`: "somebody borrows",
		`sum(retinue_predictions_total{result="Right"}) > 0`:               "an executor is as predicted",
		`max(retinue_queue_oldest_wait_seconds{queue="limited"}) > 0`:      "somebody has waited",
		`sum(retinue_reclaimed_core_seconds_total) > 0`:                    "work is thrown away",
	} {
		queries[why] = query
	}
	recorded, err := os.ReadFile("alerts.yaml")
	require.NoError(t, err)
	for _, alert := range alerts {
		found := selector.FindAllString(alert.Expr, -1)
		require.NotEmpty(t, found, alert.Alert)
		for _, series := range found {
			if silent[series] == "" {
				queries[alert.Alert+" looks at "+series] = series
				continue
			}
			name, _, _ := strings.Cut(series, "{")
			require.Contains(t, string(recorded), name+"{", "nobody has seen it at all")
		}
	}
	require.Greater(t, len(queries), 60)
	// What has had a value once is shown.
	for end := time.Now().Add(patience); len(queries) > 0; {
		for where, query := range queries {
			if p.has(query) {
				delete(queries, where)
			}
		}
		if time.Now().After(end) {
			for where, query := range queries {
				t.Errorf("%s is empty: %s", where, query)
			}
			break
		}
		<-time.After(look)
	}
	firing := p.ask(`ALERTS{alertstate="firing", severity="critical"}`)
	assert.Empty(t, firing, "nothing is wrong with the scheduler")
}

// prometheus is one that runs.
type prometheus struct {
	t       *testing.T
	address string
}

func await(t *testing.T, what string, met func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !met(); <-time.After(look) {
		require.True(t, time.Now().Before(end), "never so: %s", what)
	}
}

// ask is the values of a query now.
func (p *prometheus) ask(query string) (values []float64) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.address+"/api/v1/query?query="+url.QueryEscape(query), nil)
	require.NoError(p.t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(p.t, err)
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct{ Value [2]any }
		}
	}
	require.NoError(p.t, json.NewDecoder(response.Body).Decode(&answer))
	if response.StatusCode == http.StatusServiceUnavailable {
		return nil // it reads its storage yet
	}
	require.Equal(p.t, "success", answer.Status, "%s: %s", query, answer.Error)
	for _, result := range answer.Data.Result {
		value, err := strconv.ParseFloat(result.Value[1].(string), 64)
		require.NoError(p.t, err)
		values = append(values, value)
	}
	return values
}

// has tells whether a query has a value: a quantile of nothing is none.
func (p *prometheus) has(query string) bool {
	return slices.ContainsFunc(p.ask(query), func(value float64) bool { return !math.IsNaN(value) })
}

// borrowers are so many pods of a queue that what is left is not enough for the one that has lent.
const borrowers = 18

// load lets applications come and go until it is told to stop.
func load(t *testing.T, c *cluster.Cluster) (stop func()) {
	t.Helper()
	require.NoError(t, c.EnsureNodes(t.Context(), cluster.Nodes{Count: 3, CPU: "8", Memory: "64Gi"}))
	queues := filepath.Join(t.TempDir(), "queues.yaml")
	require.NoError(t, os.WriteFile(queues, []byte(`
{apiVersion: retinue.dev/v1alpha1, kind: Queue, metadata: {name: own}, spec: {namespaces: [own], guaranteed: {cpu: 12}, reclaim: {enabled: true, after: 0s}}}
---
{apiVersion: retinue.dev/v1alpha1, kind: Queue, metadata: {name: other}, spec: {namespaces: [other], guaranteed: {cpu: 4, memory: 16Gi}, limit: {cpu: 22, memory: 100Gi}}}
---
{apiVersion: retinue.dev/v1alpha1, kind: Queue, metadata: {name: limited}, spec: {namespaces: [limited], limit: {cpu: 2}}}
`), 0o600))
	_, err := c.Kubectl(t.Context(), "apply", "-f", queues)
	require.NoError(t, err)
	for _, namespace := range []string{"own", "other", "limited"} {
		_, err := c.Client().CoreV1().Namespaces().Create(t.Context(), &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	await(t, "namespaces have accounts", func() bool {
		_, err := c.Client().CoreV1().ServiceAccounts("limited").Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	simulator, err := sparksim.New(sparksim.Config{Client: c.Client(), Clock: clock.RealClock{}})
	require.NoError(t, err)
	running.Go(func() {
		if err := simulator.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	submitter := sparksim.Submitter{Client: c.Client(), Clock: clock.RealClock{}}
	submit := func(namespace, name string, executors int, properties ...string) {
		application := sparksim.Application{Name: name, Namespace: namespace, Properties: map[string]string{
			"spark.kubernetes.scheduler.name": "retinue", "spark.driver.cores": "1", "spark.executor.cores": "1", "spark.executor.instances": strconv.Itoa(executors),
		}}
		for i := 0; i < len(properties); i += 2 {
			application.Properties[properties[i]] = properties[i+1]
		}
		if _, err := submitter.Submit(ctx, application); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	}
	pod(t, c, "limited", "first", "1")
	submit("limited", "waits", 1)
	submit("limited", "never", 1, "spark.executor.cores", "100")
	submit("other", "wrong", 1, "spark.executor.memory", "much")
	for round := range borrowers { // more than other is guaranteed
		pod(t, c, "other", fmt.Sprint("borrows-", round), "1")
	}
	await(t, "they run", func() bool {
		pods, err := c.Client().CoreV1().Pods("other").List(ctx, metav1.ListOptions{FieldSelector: "status.phase=Running"})
		return err == nil && len(pods.Items) == borrowers
	})
	running.Go(func() {
		ended := "spark.kubernetes.driver.annotation." + sparksim.AnnotationRunTime
		for round := 0; ctx.Err() == nil; round++ {
			submit("own", fmt.Sprint("takes-", round), 10, ended, "3s")
			submit("other", fmt.Sprint("goes-", round), 1, ended, "1s")
			submit(metav1.NamespaceDefault, fmt.Sprint("free-", round), 1, ended, "1s")
			select {
			case <-ctx.Done():
			case <-time.After(4 * time.Second):
			}
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// pod creates a pod by itself.
func pod(t *testing.T, c *cluster.Cluster, namespace, name, cpu string) {
	t.Helper()
	_, err := c.Client().CoreV1().Pods(namespace).Create(t.Context(), &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1.PodSpec{
		SchedulerName: "retinue", Containers: []v1.Container{{Name: "main", Image: "none", Resources: v1.ResourceRequirements{
			Requests: v1.ResourceList{v1.ResourceCPU: apiresource.MustParse(cpu)},
		}}},
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
}
