//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/test/audit"
	"retinue.dev/retinue/test/cluster"
	"retinue.dev/retinue/test/remains"
)

// The scheduler's image, in two versions, as `make e2e-images` has made it.
const (
	schedulerImage = "retinue.local/scheduler"
	firstVersion   = "first"
	secondVersion  = "second"
)

// installation is a way to install, to upgrade and to uninstall: commands of docs/install.md, with names of this cluster.
type installation struct {
	install, upgrade, uninstall []string
}

var installations = map[string]installation{
	"kubectl": {
		install: []string{
			"kubectl apply -k manifests/base",
			"kubectl set image deployment/retinue -n retinue-system scheduler=" + schedulerImage + ":" + firstVersion,
		},
		upgrade: []string{
			"kubectl set image deployment/retinue -n retinue-system scheduler=" + schedulerImage + ":" + secondVersion,
		},
		uninstall: []string{"kubectl delete -k manifests/base"},
	},
	"helm": {
		install: []string{
			"helm install retinue manifests/chart --namespace retinue-system --create-namespace --set image.repository=" + schedulerImage + " --set image.tag=" + firstVersion,
			"kubectl label namespace retinue-system pod-security.kubernetes.io/enforce=restricted",
		},
		upgrade: []string{
			"kubectl apply --server-side --force-conflicts -k manifests/crd",
			"helm upgrade retinue manifests/chart --namespace retinue-system --reuse-values --set image.tag=" + secondVersion,
		},
		uninstall: []string{
			"helm uninstall retinue --namespace retinue-system",
			"kubectl delete crd queues.retinue.dev",
			"kubectl delete namespace retinue-system",
		},
	},
}

// TestRetinueIsInstalledUpgradedAndUninstalled does so with each of the ways that docs/install.md has, from nothing to nothing: two replicas from the real image,
// under their own account, schedule unmodified applications whole; so they do after their leader was killed, and after an upgrade; what runs goes on when they are
// uninstalled; and the API server has refused them nothing.
//
// Seen failing without the right to create events, and with a RoleBinding of the chart that helm kept.
func TestRetinueIsInstalledUpgradedAndUninstalled(t *testing.T) {
	keepEvidence(t)
	if err := box.control.StopComponent(t.Context(), cluster.Scheduler); err != nil {
		t.Fatal(err)
	}
	shell(t, "kubectl delete -k manifests/setup")
	awaitNothingLeft(t)
	t.Cleanup(func() { // for other tests
		ctx := context.Background()
		if _, err := box.control.Kubectl(ctx, "apply", "-k", "manifests/setup"); err != nil {
			t.Error(err)
		}
		if err := box.control.StartComponent(ctx, cluster.Scheduler); err != nil {
			t.Error(err)
		}
	})
	for _, with := range []string{"kubectl", "helm"} {
		t.Run(with, func(t *testing.T) { keepEvidence(t); installations[with].run(t, with) })
	}
}

func (i installation) run(t *testing.T, with string) {
	before := len(refusals(t)) // of an earlier one that went: its rights may go before its last replica
	shell(t, i.install...)
	awaitRollout(t, firstVersion)

	first, second, third := with+"-first", with+"-second", with+"-third"
	endFirst, endSecond, endThird := newGate(t), newGate(t), newGate(t)
	submit(t, application{name: first, scheduler: retinue, gates: []string{endFirst.url}})
	awaitRunning(t, first, executors)
	submit(t, application{name: second, scheduler: retinue, gates: []string{endSecond.url}})
	awaitReason(t, second)

	shell(t, "kubectl logs deployment/retinue -n retinue-system --tail=100") // of docs/operations.md
	killLeader(t)
	requireWaiting(t, second)
	endFirst.open()
	requirePi(t, awaitSuccess(t, first))
	awaitRunning(t, second, executors)

	shell(t, i.upgrade...)
	awaitRollout(t, secondVersion)
	submit(t, application{name: third, scheduler: retinue, gates: []string{endThird.url}})
	awaitReason(t, third)
	endSecond.open()
	requirePi(t, awaitSuccess(t, second))
	awaitRunning(t, third, executors)

	for _, request := range refusals(t)[before:] {
		t.Errorf("the API server has refused to the scheduler: %s", request)
	}
	shell(t, i.uninstall...)
	awaitNothingLeft(t)
	endThird.open()
	requirePi(t, awaitSuccess(t, third))
	requireNoViolation(t)
}

// shell runs commands as an administrator would who stands in the checkout.
func shell(t *testing.T, commands ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	bin, err := filepath.Abs(box.binaries)
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	for _, command := range commands {
		cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", command)
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "KUBECONFIG="+box.control.Kubeconfig(),
			"HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
		output, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, output)
		}
		t.Logf("$ %s\n%s", command, output)
	}
}

// replicas are the pods of the installed scheduler that are not on their way out.
func replicas(ctx context.Context) ([]corev1.Pod, error) {
	list, err := box.client.CoreV1().Pods(cluster.SchedulerNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=retinue"})
	if err != nil {
		return nil, err
	}
	var pods []corev1.Pod
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil {
			pods = append(pods, pod)
		}
	}
	return pods, nil
}

// awaitRollout waits until two replicas of this version, and no others, are ready, and one of them leads.
func awaitRollout(t *testing.T, version string) {
	t.Helper()
	shell(t, "kubectl rollout status deployment/retinue -n retinue-system --timeout=4m")
	eventually(t, "two replicas of the "+version+" version are ready, and one leads", func(ctx context.Context) (string, error) {
		pods, err := replicas(ctx)
		if err != nil {
			return "", err
		}
		if len(pods) != 2 {
			return fmt.Sprintf("%d replicas", len(pods)), nil
		}
		leads := false
		for i := range pods {
			pod := &pods[i]
			if pod.Spec.Containers[0].Image != schedulerImage+":"+version || pod.Spec.ServiceAccountName != cluster.SchedulerServiceAccount {
				return "", fmt.Errorf("%s has the image %s and the account %s", pod.Name, pod.Spec.Containers[0].Image, pod.Spec.ServiceAccountName)
			}
			if len(pod.Status.ContainerStatuses) != 1 || !pod.Status.ContainerStatuses[0].Ready {
				return pod.Name + " is not ready", nil
			}
			leads = leads || strings.HasPrefix(holder(ctx), pod.Name)
		}
		if !leads {
			return "the lease is held by " + holder(ctx), nil
		}
		return "", nil
	})
}

// holder is whom the lease names; empty when there is none.
func holder(ctx context.Context) string {
	lease, err := box.client.CoordinationV1().Leases(cluster.SchedulerNamespace).Get(ctx, "retinue", metav1.GetOptions{})
	if err != nil || lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// killLeader kills the process that leads, as running out of memory would, and waits until another leads.
func killLeader(t *testing.T) {
	t.Helper()
	pods, err := replicas(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before, killed := holder(t.Context()), 0
	for i := range pods {
		if strings.HasPrefix(before, pods[i].Name) {
			for _, pid := range processes(t, &pods[i]) {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				killed++
			}
		}
	}
	if killed != 1 {
		t.Fatalf("%d processes killed, want the one of %s", killed, before)
	}
	eventually(t, "another leads", func(ctx context.Context) (string, error) {
		if now := holder(ctx); now == before || now == "" {
			return "still " + before, nil
		}
		return "", nil
	})
}

// processes are those of the scheduler in a pod: they are children of this sandbox.
func processes(t *testing.T, pod *corev1.Pod) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		name, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "comm"))
		groups, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "cgroup"))
		if strings.TrimSpace(string(name)) == "scheduler" && strings.Contains(string(groups), string(pod.UID)) {
			found = append(found, pid)
		}
	}
	return found
}

// awaitNothingLeft waits until the cluster has no object of Retinue.
func awaitNothingLeft(t *testing.T) {
	t.Helper()
	var seen string
	eventually(t, "nothing is left", func(ctx context.Context) (string, error) {
		left, err := remains.Objects(ctx, box.control.RESTConfig())
		if err != nil {
			return cmp.Or(seen, err.Error()), nil // a definition that is just going
		}
		seen = strings.Join(left, ", ")
		return seen, nil
	})
}

// refusals are the requests of the scheduler's account that the API server has refused so far, by its audit log.
func refusals(t *testing.T) []string {
	t.Helper()
	var record audit.Record
	if err := record.Read(box.audit, func(string) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if len(record.Used) < 20 {
		t.Errorf("the audit log has only %d kinds of requests of the scheduler's account", len(record.Used))
	}
	return record.Refused
}
