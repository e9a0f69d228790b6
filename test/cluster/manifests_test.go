package cluster

import (
	"encoding/json"
	"path/filepath"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// manifestsAreAccepted sends manifests/base to the API server, which checks it and stores nothing, and then a pod of
// the Deployment, because only pods are held to the security level of their namespace.
func manifestsAreAccepted(t *testing.T, c *Cluster) {
	base := filepath.Join(c.config.Manifests, "..", "base")
	out, err := c.Kubectl(t.Context(), "apply", "--dry-run=server", "--validate=strict", "-k", base, "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, item := range list.Items {
		var kind metav1.TypeMeta
		if err := json.Unmarshal(item, &kind); err != nil {
			t.Fatal(err)
		}
		if kind.Kind != "Deployment" {
			continue
		}
		found = true
		var deployment appsv1.Deployment
		if err := json.Unmarshal(item, &deployment); err != nil {
			t.Fatal(err)
		}
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "from-the-deployment", Labels: deployment.Spec.Template.Labels},
			Spec:       deployment.Spec.Template.Spec,
		}
		dryRun := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
		if _, err := c.Client().CoreV1().Pods(deployment.Namespace).Create(t.Context(), pod, dryRun); err != nil {
			t.Errorf("a pod of the Deployment is refused: %v", err)
		}
	}
	if !found {
		t.Errorf("no Deployment in what %s applies", base)
	}
}
