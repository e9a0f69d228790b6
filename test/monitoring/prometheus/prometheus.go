// Package prometheus is a real Prometheus for tests, which scrapes a cluster's scheduler as the ServiceMonitor says, though more often, and has the
// shipped alerts.
package prometheus

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"retinue.dev/retinue/test/cluster"
)

// Directory is where the manifests are, from a test of a package two levels below the root.
const Directory = "../../manifests/components/monitoring/"

const (
	// patience is how long anything may take that happens at all, on a busy machine.
	patience = 3 * time.Minute
	look     = 200 * time.Millisecond
)

// Rules are the alerts as Prometheus reads them.
func Rules(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(Directory + "rules.yaml")
	require.NoError(t, err)
	var object struct {
		Spec any `json:"spec"`
	}
	require.NoError(t, yaml.Unmarshal(text, &object))
	file, err := yaml.Marshal(object.Spec)
	require.NoError(t, err)
	return file
}

// Binary is a program that hack/build makes.
func Binary(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs("../../bin/" + name)
	require.NoError(t, err)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run hack/build %s", err, name)
	}
	return path
}

// Promtool runs in a directory.
func Promtool(t *testing.T, dir string, arguments ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), Binary(t, "promtool"), arguments...)
	command.Dir = dir
	said, err := command.CombinedOutput()
	require.NoError(t, err, "%s", said)
}

// listening is what it says when it can be asked.
var listening = regexp.MustCompile(`msg="Listening on".*address=(\S+)`)

// Scrape starts one with some rules, and is the address at which it answers until the test ends.
func Scrape(t *testing.T, c *cluster.Cluster, rules []byte) (address string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("rules.yaml", string(rules))
	write("token", token(t, c))
	write("prometheus.yaml", fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [rules.yaml]
scrape_configs:
- job_name: retinue-metrics
  scheme: https
  tls_config: {insecure_skip_verify: true}
  authorization: {credentials_file: token}
  static_configs:
  - targets: ["127.0.0.1:%d"]
    labels: {pod: scheduler}
`, c.Port(cluster.Scheduler)))
	Promtool(t, dir, "check", "config", "prometheus.yaml")
	command := exec.CommandContext(t.Context(), Binary(t, "prometheus"), "--config.file=prometheus.yaml", "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:0")
	command.Dir, command.SysProcAttr = dir, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	said, err := command.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	lines := bufio.NewScanner(said)
	var all []string
	for lines.Scan() {
		all = append(all, lines.Text())
		if match := listening.FindStringSubmatch(lines.Text()); match != nil {
			var reading sync.WaitGroup
			reading.Go(func() { _, _ = io.Copy(io.Discard, said) })
			t.Cleanup(func() {
				_ = command.Process.Signal(syscall.SIGTERM)
				reading.Wait()
				_ = command.Wait()
			})
			return match[1]
		}
	}
	t.Fatalf("Prometheus does not listen: %s", strings.Join(all, "\n"))
	return ""
}

// token is that of who may read metrics and nothing else.
func token(t *testing.T, c *cluster.Cluster) (token string) {
	t.Helper()
	_, err := c.Kubectl(t.Context(), "apply", "-f", Directory+"reader.yaml")
	require.NoError(t, err)
	for end := time.Now().Add(patience); token == ""; <-time.After(look) {
		secret, err := c.Client().CoreV1().Secrets(cluster.SchedulerNamespace).Get(t.Context(), "retinue-metrics", metav1.GetOptions{})
		if err == nil {
			token = string(secret.Data["token"])
		}
		require.True(t, time.Now().Before(end), "the Secret never has a token")
	}
	return token
}
