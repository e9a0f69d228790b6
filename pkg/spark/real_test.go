package spark

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// read decodes an object that was captured from a cluster in which real applications ran.
func read[T any](t *testing.T, path string) *T {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	object := new(T)
	if err := yaml.UnmarshalStrict(text, object); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return object
}

func TestPredictionsOfCapturedApplications(t *testing.T) {
	dirs, err := filepath.Glob("testdata/real/*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no captured application: %v", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			driver := read[v1.Pod](t, filepath.Join(dir, "driver.yaml"))
			if !IsDriver(driver) || IsExecutor(driver) {
				t.Fatal("the driver is not seen as one")
			}
			refs := ConfigMaps(driver)
			configMap := read[v1.ConfigMap](t, filepath.Join(dir, "configmap.yaml"))
			if refs.Properties != configMap.Name {
				t.Errorf("the driver points to %q, the ConfigMap is %q", refs.Properties, configMap.Name)
			}
			properties, err := PropertiesOf(configMap, driver)
			if err != nil {
				t.Fatal(err)
			}
			var template *v1.Pod
			if refs.Template != "" {
				templateMap := read[v1.ConfigMap](t, filepath.Join(dir, "template-configmap.yaml"))
				if refs.Template != templateMap.Name {
					t.Errorf("the driver points to %q, the template is in %q", refs.Template, templateMap.Name)
				}
				if template, err = TemplateOf(templateMap, driver); err != nil {
					t.Fatal(err)
				}
			}
			definition, err := Infer(driver, properties, template)
			if err != nil {
				t.Fatal(err)
			}
			if len(definition.Warnings) > 0 {
				t.Errorf("warnings: %q", definition.Warnings)
			}
			role := definition.Role(RoleExecutor)
			if role == nil {
				t.Fatal("no executors")
			}
			executor := read[v1.Pod](t, filepath.Join(dir, "executor.yaml"))
			if !IsExecutor(executor) || AppID(executor) != AppID(driver) || !InDefaultProfile(executor) {
				t.Error("the executor is not seen as one of the driver's")
			}
			for _, difference := range Compare(role.Pod, executor) {
				t.Errorf("executor: %v", difference)
			}
			version, err := ParseVersion(driver.Labels[LabelVersion])
			if err != nil {
				t.Fatal(err)
			}
			predicted, err := Driver(properties, version)
			if err != nil {
				t.Fatal(err)
			}
			for _, difference := range Compare(predicted, driver) {
				if difference.Field == "requests.cpu" || difference.Field == "requests.memory" {
					t.Errorf("driver: %v", difference)
				}
			}
		})
	}
}

func TestAConfigMapOfAnotherPodIsRefused(t *testing.T) {
	driver := read[v1.Pod](t, "testdata/real/spark-4.1.4/driver.yaml")
	configMap := read[v1.ConfigMap](t, "testdata/real/spark-4.1.4/configmap.yaml")
	driver.UID = "another"
	if _, err := PropertiesOf(configMap, driver); !errors.Is(err, ErrOwner) {
		t.Errorf("error %v, want ErrOwner", err)
	}
	if _, err := TemplateOf(configMap, driver); !errors.Is(err, ErrOwner) {
		t.Errorf("error %v, want ErrOwner", err)
	}
	driver.UID = configMap.OwnerReferences[0].UID
	if _, err := TemplateOf(configMap, driver); err == nil || errors.Is(err, ErrOwner) {
		t.Errorf("error %v, want that a key is missing", err)
	}
	configMap.OwnerReferences = nil
	if _, err := PropertiesOf(configMap, driver); !errors.Is(err, ErrOwner) {
		t.Errorf("without owner: error %v, want ErrOwner", err)
	}
}

func TestPodsThatOnlyLookLikeSpark(t *testing.T) {
	for name, labels := range map[string]map[string]string{
		"no labels":              nil,
		"a role without app":     {LabelRole: RoleDriver},
		"an app without role":    {LabelApp: "spark-1"},
		"an unknown role":        {LabelRole: "history", LabelApp: "spark-1"},
		"an empty application":   {LabelRole: RoleExecutor, LabelApp: ""},
		"an executor's template": {LabelExecutorID: "1"},
	} {
		pod := &v1.Pod{}
		pod.Labels = labels
		if IsDriver(pod) || IsExecutor(pod) {
			t.Errorf("%s: seen as a pod of Spark", name)
		}
	}
	if refs := ConfigMaps(&v1.Pod{}); refs != (Refs{}) {
		t.Errorf("a pod without volumes points to %v", refs)
	}
}
