package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func TestProcessWithAnotherStartTimeIsNotTouched(t *testing.T) {
	victim := exec.Command("sleep", "60")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		victim.Process.Kill()
		victim.Wait()
	}()
	stat, err := readStat(victim.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	stale := process{PID: victim.Process.Pid, StartTicks: stat.startTicks - 1}
	if err := stale.kill(t.Context()); err != nil {
		t.Error(err)
	}
	actual := process{PID: victim.Process.Pid, StartTicks: stat.startTicks}
	if !actual.alive() {
		t.Fatal("a process was killed that only has the pid of a recorded one")
	}
	if err := actual.stop(t.Context()); err != nil {
		t.Error(err)
	}
	if actual.alive() {
		t.Error("the process is alive after it was stopped")
	}
	if err := actual.signal(syscall.SIGTERM); err != nil {
		t.Errorf("a signal to a process that is gone: %v", err)
	}
}

func TestHeartbeatsGetRarerWithTheNumberOfNodes(t *testing.T) {
	for nodes, want := range map[int]time.Duration{0: 40 * time.Second, 100: 40 * time.Second, 5000: 2000 * time.Second} {
		if got := (&Config{ExpectedNodes: nodes}).leaseDuration(); got != want {
			t.Errorf("%d nodes have leases of %v, want %v", nodes, got, want)
		}
	}
}

func TestWrongSettingsAreNamed(t *testing.T) {
	tests := map[string]struct {
		config Config
		want   string
	}{
		"no directory":      {Config{}, "Dir is empty"},
		"unknown component": {Config{Dir: "x", Components: []Component{"kubelet"}}, `Components: unknown component "kubelet"`},
		"not an address":    {Config{Dir: "x", Address: "localhost"}, `Address "localhost"`},
		"not a range":       {Config{Dir: "x", ServiceCIDR: "10.96.0.0"}, `ServiceCIDR "10.96.0.0"`},
		"port too high":     {Config{Dir: "x", PortBase: 65530}, "PortBase 65530"},
		"negative nodes":    {Config{Dir: "x", ExpectedNodes: -1}, "ExpectedNodes -1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := test.config.complete(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one that contains %q", err, test.want)
			}
		})
	}
}

func TestWrongNodesAreNamed(t *testing.T) {
	tests := map[string]struct {
		nodes Nodes
		want  string
	}{
		"negative count":    {Nodes{Count: -1}, "Count -1"},
		"CPU is a word":     {Nodes{CPU: "many"}, `CPU "many"`},
		"memory is nothing": {Nodes{Memory: "0"}, `Memory "0"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, _, err := test.nodes.complete(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one that contains %q", err, test.want)
			}
		})
	}
}

func TestSchedulerConfigurationKeepsEverythingAndGainsTheKubeconfig(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from.yaml"), filepath.Join(dir, "to", "config.yaml")
	tests := map[string]struct {
		from, want, wantErr string
	}{
		"connection settings stay":       {from: "clientConnection:\n  qps: 7\nprofiles: []\n", want: "clientConnection:\n  kubeconfig: /k\n  qps: 7\nprofiles: []\n"},
		"no connection settings":         {from: "profiles: []\n", want: "clientConnection:\n  kubeconfig: /k\nprofiles: []\n"},
		"empty file":                     {from: "# nothing\n", wantErr: "is empty"},
		"connection settings are a list": {from: "clientConnection: [1]\n", wantErr: "clientConnection [1] is not an object"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(from, []byte(test.from), 0o644); err != nil {
				t.Fatal(err)
			}
			err := writeSchedulerConfig(from, to, "/k")
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Errorf("got error %v, want one that contains %q", err, test.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, read(t, to)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Seen failing when the default scheduler had 500 requests a second and the shipped configuration 1,000.
func TestTheDefaultSchedulerHasTheLimitsOfRequestsThatAreShipped(t *testing.T) {
	var shipped struct {
		ClientConnection struct{ QPS, Burst int }
	}
	if err := yaml.Unmarshal([]byte(read(t, "../../manifests/setup/scheduler-config.yaml")), &shipped); err != nil {
		t.Fatal(err)
	}
	want := []string{fmt.Sprint("--kube-api-qps=", shipped.ClientConnection.QPS), fmt.Sprint("--kube-api-burst=", shipped.ClientConnection.Burst)}
	if diff := cmp.Diff(want, requestLimits); diff != "" {
		t.Error(diff)
	}
}

func TestTailKeepsTheLastLines(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(file, []byte("1\n2\n3\n4\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for lines, want := range map[int]string{1: "4", 2: "3\n4", 9: "1\n2\n3\n4"} {
		if got := tail(file, lines); got != want {
			t.Errorf("the last %d lines are %q, want %q", lines, got, want)
		}
	}
}

func TestFailedChecksAreNamed(t *testing.T) {
	for body, want := range map[string]string{
		"[+]ping ok\n[-]etcd failed: reason withheld\n[+]log ok\nreadyz check failed\n":    "waits for etcd",
		"[-]a failed: x\n[-]b failed: x\n[-]c failed: x\n[-]d failed: x\n[-]e failed: x\n": "waits for a, b, c and 2 more",
		"forbidden\n": "forbidden",
	} {
		if diff := cmp.Diff(want, failedChecks(body)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestProgramsOfAClusterDoNotSeeOtherClustersSettingsAndProxies(t *testing.T) {
	got := environment([]string{"PATH=/bin", "KUBECONFIG=/home/me/.kube/config", "ETCD_DATA_DIR=/var/lib/etcd", "KUBERNETES_SERVICE_HOST=10.0.0.1",
		"https_proxy=http://proxy", "HTTPS_PROXY=http://proxy", "GOMAXPROCS=2", "KUBE_FEATURE_X=true", "KUBERC=/home/me/kuberc", "HOME=/home/me"})
	want := []string{"KUBERC=off", "PATH=/bin", "GOMAXPROCS=2", "KUBE_FEATURE_X=true", "HOME=/home/me"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
