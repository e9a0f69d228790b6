//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"retinue.dev/retinue/test/e2e/witness"
)

// capture writes the objects Spark made for an application, as they were created, into the folder spark-VERSION and
// suffix. It does nothing unless the flag -capture names a folder.
func capture(t *testing.T, name, suffix string) {
	t.Helper()
	if *captureDir == "" {
		return
	}
	dir := filepath.Join(*captureDir, "spark-"+box.spark.Version+suffix)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	app := birthsOf(t, name)
	config, ok := sparkProperties(app)
	if !ok || len(app.Executors) == 0 {
		t.Fatalf("%s: the witness saw no ConfigMap or no executor", name)
	}
	writeYAML(t, filepath.Join(dir, "driver.yaml"), app.Driver.Object)
	writeYAML(t, filepath.Join(dir, "configmap.yaml"), config.Object)
	writeYAML(t, filepath.Join(dir, "executor.yaml"), app.Executors[0].Object)
	for _, other := range app.ConfigMaps {
		if template, ok := other.Object.(*corev1.ConfigMap); ok && template.Data["podspec-configmap-key"] != "" {
			writeYAML(t, filepath.Join(dir, "template-configmap.yaml"), other.Object)
		}
	}
	t.Logf("captured in %s", dir)
}

// birthsOf are what the witness saw of an application.
func birthsOf(t *testing.T, name string) witness.Births {
	t.Helper()
	for _, app := range box.witness.Applications() {
		if app.Driver.Object.GetLabels()[witness.NameLabel] == name {
			return app
		}
	}
	t.Fatalf("%s: the witness saw no driver", name)
	return witness.Births{}
}

// writeYAML writes an object without what says who wrote which field.
func writeYAML(t *testing.T, path string, object witness.Object) {
	t.Helper()
	kinds, _, err := scheme.Scheme.ObjectKinds(object)
	if err != nil {
		t.Fatal(err)
	}
	clean := object.DeepCopyObject().(witness.Object)
	clean.GetObjectKind().SetGroupVersionKind(kinds[0]) // a typed client leaves it out
	clean.SetManagedFields(nil)
	content, err := yaml.Marshal(clean)
	if err != nil {
		t.Fatal(err)
	}
	head := fmt.Sprintf("# Created by Spark %s; written by `make e2e-capture`.\n", box.spark.Version)
	if err := os.WriteFile(path, append([]byte(head), content...), 0o644); err != nil {
		t.Fatal(err)
	}
}

func hasProperties(object witness.Object) bool {
	config, ok := object.(*corev1.ConfigMap)
	return ok && config.Data["spark.properties"] != ""
}
