//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const evidenceTimeout = time.Minute

// keepEvidence, when the test fails, writes what the cluster looks like next to the logs.
func keepEvidence(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), evidenceTimeout)
		defer cancel()
		dir := filepath.Join(box.logs(), t.Name())
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Error(err)
			return
		}
		for file, arguments := range map[string]string{
			"nodes.txt":   "describe nodes",
			"pods.yaml":   "get pods --all-namespaces -o yaml --show-managed-fields=false",
			"events.txt":  "get events --all-namespaces --sort-by=.metadata.creationTimestamp",
			"queues.yaml": "get queues.retinue.dev -o yaml",
		} {
			output, err := box.control.Kubectl(ctx, strings.Fields(arguments)...)
			if err != nil {
				t.Error(err)
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, file), output, 0o644); err != nil {
				t.Error(err)
			}
		}
		pods, err := box.client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Error(err)
			return
		}
		for i := range pods.Items {
			pod := &pods.Items[i]
			if err := os.WriteFile(filepath.Join(dir, pod.Name+".log"), []byte(logOf(ctx, pod)), 0o644); err != nil {
				t.Error(err)
			}
		}
		t.Logf("evidence: logs/%s in the cache folder", t.Name())
	})
}
