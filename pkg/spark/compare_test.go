package spark

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
)

// injected is what webhooks like to add to executors.
const injected = "proxy"

func TestDifferencesOfARealExecutor(t *testing.T) {
	tests := map[string]struct {
		change func(*v1.Pod)
		want   []string
	}{
		"none": {func(*v1.Pod) {}, nil},
		"what every API server adds": {func(pod *v1.Pod) {
			for _, key := range []string{v1.TaintNodeNotReady, v1.TaintNodeUnreachable} {
				pod.Spec.Tolerations = append(pod.Spec.Tolerations, v1.Toleration{Key: key, Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoExecute, TolerationSeconds: ptr.To[int64](300)})
			}
			pod.Spec.Volumes = append(pod.Spec.Volumes, v1.Volume{Name: "kube-api-access"})
			pod.Spec.Priority = ptr.To[int32](0)
			pod.Labels[LabelExecutorID] = "4"
			pod.Labels[LabelAppName] = "named by code"
			pod.Spec.Containers[0].Env = []v1.EnvVar{{Name: "A"}}
		}, nil},
		"the same amounts, written otherwise": {func(pod *v1.Pod) {
			pod.Spec.Containers[0].Resources.Requests[v1.ResourceCPU] = resource.MustParse("1000m")
			pod.Spec.Containers[0].Resources.Requests[v1.ResourceMemory] = resource.MustParse("1476395008")
		}, nil},
		"an injected sidecar": {func(pod *v1.Pod) {
			pod.Spec.Containers = append(pod.Spec.Containers, v1.Container{Name: injected, Resources: v1.ResourceRequirements{
				Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("100m"), v1.ResourceMemory: resource.MustParse("128Mi")},
			}})
		}, []string{
			"requests.cpu: 1100m instead of 1",
			"requests.memory: 1536Mi instead of 1408Mi",
			"spec.containers[proxy]: a container instead of nothing",
		}},
		"more memory, and a GPU": {func(pod *v1.Pod) {
			r := pod.Spec.Containers[0].Resources
			r.Requests[v1.ResourceMemory] = resource.MustParse("2Gi")
			r.Requests["nvidia.com/gpu"] = resource.MustParse("1")
			delete(r.Limits, v1.ResourceMemory)
		}, []string{
			"requests.memory: 2Gi instead of 1408Mi",
			"requests.nvidia.com/gpu: 1 instead of nothing",
			"spec.containers[spark-kubernetes-executor].requests.memory: 2Gi instead of 1408Mi",
			"spec.containers[spark-kubernetes-executor].requests.nvidia.com/gpu: 1 instead of nothing",
			"spec.containers[spark-kubernetes-executor].limits.memory: nothing instead of 1408Mi",
		}},
		"where it may run": {func(pod *v1.Pod) {
			pod.Spec.SchedulerName = ""
			pod.Spec.NodeSelector = map[string]string{"disk": "ssd"}
			pod.Spec.Tolerations = []v1.Toleration{{Operator: v1.TolerationOpExists}}
			pod.Spec.Affinity = &v1.Affinity{}
			pod.Spec.TopologySpreadConstraints = []v1.TopologySpreadConstraint{{MaxSkew: 1}}
			pod.Spec.PriorityClassName = "high"
			pod.Spec.RuntimeClassName = ptr.To("gvisor")
			pod.Spec.HostNetwork = true
			pod.Spec.Containers[0].Ports = []v1.ContainerPort{{HostPort: 80, Protocol: v1.ProtocolTCP}}
			pod.Spec.Volumes = []v1.Volume{{VolumeSource: v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: "c"}}}}
			pod.Labels["team"] = "none"
			pod.Labels[LabelVersion] = "5.0.0"
		}, []string{
			"spec.schedulerName: default-scheduler instead of retinue",
			`spec.nodeSelector: {"disk":"ssd"} instead of nothing`,
			`spec.tolerations: [{"operator":"Exists"}] instead of nothing`,
			"spec.affinity: {} instead of nothing",
			`spec.topologySpreadConstraints: [{"maxSkew":1,"topologyKey":"","whenUnsatisfiable":""}] instead of nothing`,
			"spec.priorityClassName: high instead of nothing",
			`spec.runtimeClassName: "gvisor" instead of nothing`,
			"spec.hostNetwork: true instead of false",
			`host ports: ["TCP :80"] instead of nothing`,
			`persistent volume claims: ["c"] instead of nothing`,
			"metadata.labels[spark-version]: 5.0.0 instead of 4.2.0",
		}},
		"a lost container": {func(pod *v1.Pod) { pod.Spec.Containers[0].Name = "renamed" }, []string{
			"spec.containers[spark-kubernetes-executor]: nothing instead of a container",
			"spec.containers[renamed]: a container instead of nothing",
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			definition, err := Infer(driverPod("4.2.0"), parsed(t, ""), nil)
			if err != nil {
				t.Fatal(err)
			}
			predicted := definition.Roles[0].Pod
			real := predicted.DeepCopy()
			test.change(real)
			var got []string
			for _, difference := range Compare(predicted, real) {
				got = append(got, difference.String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
