package install

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// renderings are the values that make of the chart what kustomizations make, all of them together.
var renderings = map[string]struct {
	values         []string
	kustomizations []string
}{
	"the base":           {kustomizations: []string{"base"}},
	"high availability":  {[]string{"replicas=3", "spread=zones"}, []string{"overlays/high-availability"}},
	"a dedicated pool":   {[]string{"dedicatedPool.enabled=true"}, []string{"overlays/dedicated-pool"}},
	"monitoring":         {[]string{"monitoring.enabled=true"}, []string{"overlays/monitoring"}},
	"an autoscaler":      {[]string{"autoscaler.mode=CapacityBuffer", "autoscaler.stay=true"}, []string{"overlays/autoscaler"}},
	"no autoscaler":      {[]string{"autoscaler.mode=Off"}, []string{"overlays/without-autoscaler"}},
	"admission policies": {[]string{"admission.enabled=true"}, []string{"base", "admission"}},
	"several at once": {[]string{"replicas=3", "spread=zones", "monitoring.enabled=true", "image.repository=registry.example/retinue/scheduler", "image.tag=v1.37.1-retinue.1"},
		[]string{"examples/production"}},
	"ConfigMaps of no namespace":  {[]string{"configMaps.clusterWide=false"}, []string{"overlays/namespaced-config-maps"}},
	"ConfigMaps of one namespace": {[]string{"configMaps.clusterWide=false", "configMaps.namespaces={spark-jobs}"}, []string{"overlays/namespaced-config-maps", "examples/namespaced-config-maps"}},
	"dry runs of executors":       {[]string{"dryRun.enabled=true"}, []string{"base", "dry-run"}},
}

// TestTheChartRendersWhatKustomizeRenders compares object by object. What helm adds to know its own is left aside: labels, and the digest by which a
// changed configuration rolls the Deployment, for which kustomize changes the name of the ConfigMap.
//
// Seen failing when a verb was taken out of a role of the chart.
func TestTheChartRendersWhatKustomizeRenders(t *testing.T) {
	covered := map[string]bool{"setup": true, "crd": true, "history": true} // the first two are parts of the base; the history is a program of its own
	for name, rendering := range renderings {
		t.Run(name, func(t *testing.T) {
			want := map[string]any{}
			for _, dir := range rendering.kustomizations {
				for _, object := range kustomize(t, dir) {
					compared(t, object)
					want[nameOf(object)] = object.Object
				}
			}
			got := map[string]any{}
			for _, object := range chart(t, "retinue-system", rendering.values...) {
				compared(t, object)
				require.NotContains(t, got, nameOf(object), "it is there twice")
				got[nameOf(object)] = object.Object
			}
			require.Empty(t, cmp.Diff(want, got), "-kustomize +helm")
		})
		for _, dir := range rendering.kustomizations {
			covered[dir] = true
		}
	}
	for _, dir := range kustomizations(t) {
		require.True(t, covered[dir], "manifests/%s is not compared with the chart", dir)
	}
}

var suffix = regexp.MustCompile(`^retinue-config-[a-z0-9]{10}$`)

// compared takes out of an object what may differ between helm and kustomize.
func compared(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	labels := object.GetLabels()
	for _, label := range []string{"app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"} {
		delete(labels, label)
	}
	switch object.GetKind() {
	case "CustomResourceDefinition": // helm takes it as it is
		delete(labels, "app.kubernetes.io/name")
	case "ConfigMap":
		if labels["grafana_dashboard"] != "" {
			break
		}
		object.SetName(unsuffixed(object.GetName()))
		text, found, err := unstructured.NestedString(object.Object, "data", "scheduler-config.yaml")
		require.NoError(t, err)
		require.True(t, found)
		configuration := map[string]any{}
		require.NoError(t, yaml.UnmarshalStrict([]byte(text), &configuration), "%s", text)
		object.Object["data"] = configuration
	case "Deployment":
		spec := object.Object["spec"].(map[string]any)["template"].(map[string]any)
		annotations, _, err := unstructured.NestedMap(spec, "metadata", "annotations")
		require.NoError(t, err)
		if delete(annotations, "checksum/config"); len(annotations) == 0 {
			unstructured.RemoveNestedField(spec, "metadata", "annotations")
		} else {
			require.NoError(t, unstructured.SetNestedMap(spec, annotations, "metadata", "annotations"))
		}
		for _, volume := range spec["spec"].(map[string]any)["volumes"].([]any) {
			source := volume.(map[string]any)["configMap"].(map[string]any)
			source["name"] = unsuffixed(source["name"].(string))
		}
	}
	if object.SetLabels(labels); len(labels) == 0 {
		unstructured.RemoveNestedField(object.Object, "metadata", "labels")
	}
}

func unsuffixed(name string) string {
	if suffix.MatchString(name) {
		return "retinue-config"
	}
	return name
}

// TestTheChartIsSound asks helm about the chart, and about values that are wrong.
func TestTheChartIsSound(t *testing.T) {
	dir := filepath.Join(manifests, "chart")
	for name, rendering := range renderings {
		args := []string{"lint", "--strict", dir}
		for _, value := range rendering.values {
			args = append(args, "--set="+value)
		}
		_, err := program(t, "helm", args...)
		require.NoError(t, err, name)
	}
	for _, wrong := range []string{"replica=3", "replicas=0", "autoscaler.mode=auto", "spread=zone", "image.repository=", "scheduler.name="} {
		out, err := program(t, "helm", "template", dir, "--set="+wrong)
		require.Error(t, err, "%s is taken: %s", wrong, out)
		field, _, _ := strings.Cut(wrong, "=")
		require.Contains(t, strings.ReplaceAll(err.Error(), "/", "."), field)
	}
}

// TestTheChartIsOfNoNamespace: a release elsewhere names its own namespace only, and the scheduler's name is everywhere the one that is given.
func TestTheChartIsOfNoNamespace(t *testing.T) {
	values := []string{"scheduler.name=batch", "monitoring.enabled=true", "dedicatedPool.enabled=true", "admission.enabled=true", "dryRun.enabled=true"}
	for _, object := range chart(t, "elsewhere", values...) {
		text, err := yaml.Marshal(object.Object)
		require.NoError(t, err)
		if object.GetKind() != "CustomResourceDefinition" {
			require.NotContains(t, string(text), "retinue-system", nameOf(object))
			require.NotRegexp(t, `schedulerName\W+retinue\b`, string(text), nameOf(object))
		}
	}
}

// TestTheChartHasTheDefinitionOfQueues: make generate writes both files.
func TestTheChartHasTheDefinitionOfQueues(t *testing.T) {
	definition, err := os.ReadFile(filepath.Join(manifests, "crd", "retinue.dev_queues.yaml"))
	require.NoError(t, err)
	ofTheChart, err := os.ReadFile(filepath.Join(manifests, "chart", "crds", "retinue.dev_queues.yaml"))
	require.NoError(t, err)
	require.Equal(t, string(definition), string(ofTheChart))
}
