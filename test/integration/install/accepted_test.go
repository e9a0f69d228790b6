package install

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"k8s.io/utils/ptr"

	"retinue.dev/retinue/test/cluster"
)

// TestEveryManifestIsAcceptedByTheAPIServer sends each object of all kustomizations, renderings of the chart and examples to the API server, which
// checks every field of it and stores nothing.
//
// Seen failing with a field misspelt in an overlay and in an example.
func TestEveryManifestIsAcceptedByTheAPIServer(t *testing.T) {
	c := start(t)
	for _, dir := range kustomizations(t) {
		t.Run(dir, func(t *testing.T) { accepted(t, c, kustomize(t, dir)) })
	}
	for name, rendering := range renderings {
		t.Run("chart/"+name, func(t *testing.T) { accepted(t, c, chart(t, "retinue-system", rendering.values...)) })
	}
	examples := 0
	require.NoError(t, filepath.WalkDir(filepath.Join(manifests, "examples"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".yaml" || entry.Name() == "kustomization.yaml" {
			return err
		}
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		examples++
		t.Run("examples/"+filepath.Base(path), func(t *testing.T) { accepted(t, c, parse(t, string(content))) })
		return nil
	}))
	require.Greater(t, examples, 8)
}

// checked are the objects that the API server has accepted: what several renderings share is sent once.
var checked = map[string]bool{}

// accepted lets the API server check objects, and of what makes pods a pod, because only pods are held to the security level of their namespace.
func accepted(t *testing.T, c *cluster.Cluster, objects []*unstructured.Unstructured) {
	t.Helper()
	kinds, client := kindsOf(t, c)
	for _, object := range objects {
		content, err := json.Marshal(object.Object)
		require.NoError(t, err)
		if checked[string(content)] {
			continue
		}
		kind, err := kinds.RESTMapping(object.GroupVersionKind().GroupKind(), object.GroupVersionKind().Version)
		require.NoError(t, err, nameOf(object))
		target := client.Resource(kind.Resource).Namespace(object.GetNamespace())
		dryRun, strict := []string{metav1.DryRunAll}, metav1.FieldValidationStrict
		if object.GetName() == "" { // to be named by whoever makes it
			_, err = target.Create(t.Context(), object, metav1.CreateOptions{DryRun: dryRun, FieldValidation: strict})
		} else {
			_, err = target.Patch(t.Context(), object.GetName(), types.ApplyPatchType, content,
				metav1.PatchOptions{DryRun: dryRun, FieldValidation: strict, FieldManager: "test", Force: ptr.To(true)})
		}
		checked[string(content)] = assert.NoError(t, err, nameOf(object))
		if group := object.GroupVersionKind().Group; group == "apps" || group == "batch" {
			podOf(t, c, object)
		}
	}
}

// podOf lets the API server check a pod of a Deployment or a Job. The account is not looked at: nothing is stored here.
func podOf(t *testing.T, c *cluster.Cluster, object *unstructured.Unstructured) {
	t.Helper()
	template, found, err := unstructured.NestedMap(object.Object, "spec", "template")
	require.NoError(t, err)
	require.True(t, found, nameOf(object))
	encoded, err := json.Marshal(template)
	require.NoError(t, err)
	pod := &v1.Pod{}
	require.NoError(t, json.Unmarshal(encoded, pod))
	pod.GenerateName, pod.Spec.ServiceAccountName = "from-"+object.GetName()+"-", "default"
	awaitAccount(t, c, object.GetNamespace())
	_, err = c.Client().CoreV1().Pods(object.GetNamespace()).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	assert.NoError(t, err, "a pod of %s", nameOf(object))
}

// kindsOf finds the resource of a kind, and a client for it.
func kindsOf(t *testing.T, c *cluster.Cluster) (meta.RESTMapper, dynamic.Interface) {
	t.Helper()
	asked, err := discovery.NewDiscoveryClientForConfig(c.RESTConfig())
	require.NoError(t, err)
	groups, err := restmapper.GetAPIGroupResources(asked)
	require.NoError(t, err)
	client, err := dynamic.NewForConfig(c.RESTConfig())
	require.NoError(t, err)
	return restmapper.NewDiscoveryRESTMapper(groups), client
}

// awaitAccount waits until pods can be made in a namespace.
func awaitAccount(t *testing.T, c *cluster.Cluster, namespace string) {
	t.Helper()
	eventually(t, func() bool {
		_, err := c.Client().CoreV1().ServiceAccounts(namespace).Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil
	}, func() string { return "namespace " + namespace + " has no account" })
}

// tried is the pod that the API server would make of this one, or why it refuses it.
func tried(t *testing.T, c *cluster.Cluster, namespace string, spec v1.PodSpec) (*v1.Pod, error) {
	t.Helper()
	spec.Containers = []v1.Container{{Name: "main", Image: "none"}}
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "tried-"}, Spec: spec}
	return c.Client().CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
}

// apply applies a file until the test ends.
func apply(t *testing.T, c *cluster.Cluster, args ...string) {
	t.Helper()
	_, err := c.Kubectl(t.Context(), append([]string{"apply", "--validate=strict"}, args...)...)
	require.NoError(t, err)
	t.Cleanup(func() {
		if _, err := c.Kubectl(context.Background(), append([]string{"delete", "--ignore-not-found"}, args...)...); err != nil {
			t.Error(err)
		}
	})
}

// namespace makes one with labels, and waits for its account.
func namespace(t *testing.T, c *cluster.Cluster, name string, labels map[string]string) {
	t.Helper()
	_, err := c.Client().CoreV1().Namespaces().Create(t.Context(), &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{})
	require.NoError(t, err)
	awaitAccount(t, c, name)
}

// TestThePoliciesOfPoolsAndNamesDoWhatTheySay applies the dedicated pool and both examples of admission, and asks what becomes of pods.
//
// Seen failing when the pool's policy had a match condition on the scheduler's name: a pod whose name another policy has set was left out.
func TestThePoliciesOfPoolsAndNamesDoWhatTheySay(t *testing.T) {
	c := start(t)
	namespace(t, c, "plain", nil)
	namespace(t, c, "set", map[string]string{"retinue.dev/scheduler": "set"})
	namespace(t, c, "required", map[string]string{"retinue.dev/scheduler": "required"})
	for _, file := range []string{"components/dedicated-pool/policies.yaml", "examples/admission/set-scheduler.yaml", "examples/admission/require-scheduler.yaml"} {
		apply(t, c, "-f", filepath.Join(manifests, file))
	}
	pooled := func(pod *v1.Pod) bool {
		tolerates := 0
		for _, toleration := range pod.Spec.Tolerations {
			if toleration.Key == "retinue.dev/pool" {
				tolerates++
			}
		}
		return tolerates == 1 && pod.Spec.NodeSelector["retinue.dev/pool"] == "batch"
	}
	own := v1.Toleration{Key: "retinue.dev/pool", Operator: v1.TolerationOpEqual, Value: "batch", Effect: v1.TaintEffectNoSchedule}
	tests := map[string]struct {
		namespace string
		spec      v1.PodSpec
		want      func(*v1.Pod) bool // nil means that it is refused
	}{
		"a pod of Retinue is sent to the pool": {"plain", v1.PodSpec{SchedulerName: "retinue"}, pooled},
		"one that has a node selector and tolerations keeps them": {"plain", v1.PodSpec{SchedulerName: "retinue", NodeSelector: map[string]string{"disk": "ssd"}, Tolerations: []v1.Toleration{{Key: "gpu", Operator: v1.TolerationOpExists}}},
			func(pod *v1.Pod) bool {
				return pooled(pod) && pod.Spec.NodeSelector["disk"] == "ssd" && pod.Spec.Tolerations[0].Key == "gpu"
			}},
		"one that says the same itself has it once": {"plain", v1.PodSpec{SchedulerName: "retinue", Tolerations: []v1.Toleration{own}}, pooled},
		"another scheduler's pod is left alone": {"plain", v1.PodSpec{}, func(pod *v1.Pod) bool {
			return !pooled(pod) && pod.Spec.SchedulerName == v1.DefaultSchedulerName && len(pod.Spec.NodeSelector) == 0
		}},
		"another scheduler's pod may not enter":      {"plain", v1.PodSpec{Tolerations: []v1.Toleration{own}}, nil},
		"nor with a toleration of everything":        {"plain", v1.PodSpec{Tolerations: []v1.Toleration{{Operator: v1.TolerationOpExists}}}, nil},
		"but for what runs on every node":            {"kube-system", v1.PodSpec{Tolerations: []v1.Toleration{{Operator: v1.TolerationOpExists}}}, func(*v1.Pod) bool { return true }},
		"where the name is set, it is, and the pool": {"set", v1.PodSpec{}, func(pod *v1.Pod) bool { return pooled(pod) && pod.Spec.SchedulerName == "retinue" }},
		"a name that is given stays":                 {"set", v1.PodSpec{SchedulerName: "other"}, func(pod *v1.Pod) bool { return !pooled(pod) && pod.Spec.SchedulerName == "other" }},
		"where the name is required, it is":          {"required", v1.PodSpec{}, nil},
		"and is enough":                              {"required", v1.PodSpec{SchedulerName: "retinue"}, pooled},
	}
	for _, heard := range []string{"a pod of Retinue is sent to the pool", "another scheduler's pod may not enter", "where the name is set, it is, and the pool", "where the name is required, it is"} {
		test := tests[heard]
		eventually(t, func() bool { // policies take a moment to be heard of
			pod, err := tried(t, c, test.namespace, test.spec)
			return test.want == nil && err != nil || test.want != nil && err == nil && test.want(pod)
		}, func() string { return "the API server has not heard of all policies: " + heard })
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			pod, err := tried(t, c, test.namespace, test.spec)
			if test.want != nil {
				require.NoError(t, err)
				require.True(t, test.want(pod), "%+v", pod.Spec)
				return
			}
			require.True(t, apierrors.IsForbidden(err), "%v", err)
			require.Contains(t, err.Error(), "schedulerName: retinue")
		})
	}
}

// TestCopiesOfTheConfigurationDifferInOneArgument: a component has to bring a whole file where it changes one argument.
func TestCopiesOfTheConfigurationDifferInOneArgument(t *testing.T) {
	original, err := os.ReadFile(filepath.Join(manifests, "setup", "scheduler-config.yaml"))
	require.NoError(t, err)
	for component, argument := range map[string]string{"autoscaler": "CapacityBuffer", "without-autoscaler": `"Off"`} {
		copied, err := os.ReadFile(filepath.Join(manifests, "components", component, "scheduler-config.yaml"))
		require.NoError(t, err)
		require.Equal(t, string(original), strings.Replace(string(copied), "      scaleUp:\n        mode: "+argument+"\n", "", 1), component)
		require.Contains(t, string(copied), "mode: "+argument)
	}
}
