package install

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"retinue.dev/retinue/test/cluster"
)

// metric is a name in an expression or a document.
var metric = regexp.MustCompile(`\b(?:retinue|scheduler|leader_election|rest_client|process)_[a-z_]+\b`)

// scrape reads the metrics of the running scheduler with a token.
func scrape(t *testing.T, c *cluster.Cluster, token string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/metrics", c.Port(cluster.Scheduler)), nil)
	require.NoError(t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}} // as in the ServiceMonitor
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(content)
}

// servedIn are the names of metrics in a scrape, with those that a histogram stands for.
func servedIn(body string) map[string]bool {
	served := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`).FindAllStringSubmatch(body, -1) {
		served[match[1]] = true
		if match[2] == "histogram" {
			served[match[1]+"_bucket"], served[match[1]+"_count"], served[match[1]+"_sum"] = true, true, true
		}
	}
	return served
}

// TestAlertsAndRunbookSpeakOfMetricsThatExist reads the metrics as the ServiceMonitor says, with the token of manifests/components/monitoring, and looks
// for every name that an alert or docs/operations.md has. Nobody else reads them.
//
// Seen failing while nothing had been scheduled.
func TestAlertsAndRunbookSpeakOfMetricsThatExist(t *testing.T) {
	c := start(t)
	apply(t, c, "-f", filepath.Join(manifests, "components/monitoring/reader.yaml"))
	var token string
	eventually(t, func() bool {
		secret, err := c.Client().CoreV1().Secrets(cluster.SchedulerNamespace).Get(t.Context(), "retinue-metrics", metav1.GetOptions{})
		token = string(secret.Data["token"])
		return err == nil && token != ""
	}, func() string { return "the Secret gets no token" })
	var status int
	var body string
	eventually(t, func() bool { // the scheduler asks the API server who that is, and the answer "nobody" holds for some seconds
		status, body = scrape(t, c, token)
		return status == http.StatusOK
	}, func() string { return fmt.Sprintf("the scheduler answers %d: %s", status, body) })
	for _, stranger := range []string{"", "no.such.token"} {
		refused, _ := scrape(t, c, stranger)
		require.Contains(t, []int{http.StatusForbidden, http.StatusUnauthorized}, refused)
	}

	named := map[string]string{} // metric -> where
	alerts := map[string]bool{}
	for _, object := range kustomize(t, "overlays/monitoring") {
		if object.GetKind() != "PrometheusRule" {
			continue
		}
		groups, _, err := unstructured.NestedSlice(object.Object, "spec", "groups")
		require.NoError(t, err)
		for _, group := range groups {
			for _, rule := range group.(map[string]any)["rules"].([]any) {
				alert := rule.(map[string]any)["alert"].(string)
				alerts[alert] = true
				for _, name := range metric.FindAllString(rule.(map[string]any)["expr"].(string), -1) {
					named[name] = alert
				}
			}
		}
	}
	require.NotEmpty(t, alerts)
	page, err := os.ReadFile("../../../docs/operations.md")
	require.NoError(t, err)
	for _, name := range metric.FindAllString(string(page), -1) {
		named[name] = "docs/operations.md"
	}
	require.NotEmpty(t, named)
	// Some have no value before anything has been scheduled.
	require.NoError(t, c.EnsureNodes(t.Context(), cluster.Nodes{Count: 1}))
	awaitAccount(t, c, metav1.NamespaceDefault)
	queue := filepath.Join(t.TempDir(), "queue.yaml")
	require.NoError(t, os.WriteFile(queue, []byte("{apiVersion: retinue.dev/v1alpha1, kind: Queue, metadata: {name: limited}, spec: {guaranteed: {cpu: 1}, limit: {cpu: 1000}}}"), 0o600))
	apply(t, c, "-f", queue)
	for name, cpu := range map[string]string{"scheduled": "1m", "waits": "10000"} {
		pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1.PodSpec{SchedulerName: "retinue", Containers: []v1.Container{{
			Name: "main", Image: "none", Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: apiresource.MustParse(cpu)}},
		}}}}
		_, err = c.Client().CoreV1().Pods(metav1.NamespaceDefault).Create(t.Context(), pod, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	var missing []string
	eventually(t, func() bool {
		missing = nil
		_, body := scrape(t, c, token)
		served := servedIn(body)
		for name, where := range named {
			if !served[name] {
				missing = append(missing, name+" of "+where)
			}
		}
		return len(missing) == 0
	}, func() string { return fmt.Sprintf("the scheduler does not have %v", missing) })
	for alert := range alerts {
		require.Contains(t, string(page), "`"+alert+"`", "the runbook says what to do")
	}
	for _, match := range regexp.MustCompile("`(Retinue[A-Z]\\w+)`").FindAllStringSubmatch(string(page), -1) {
		require.True(t, alerts[match[1]], "docs/operations.md speaks of the alert %s, which does not exist", match[1])
	}
}
