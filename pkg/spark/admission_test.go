package spark

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// madeDriver is a driver as spark-submit makes it from properties.
func madeDriver(t *testing.T, text string) *v1.Pod {
	driver, err := Driver(parsed(t, text), Version{4, 2})
	require.NoError(t, err)
	driver.Spec.SchedulerName = "retinue"
	return driver
}

func amount(text string) resource.Quantity { return resource.MustParse(text) }

// TestWhatAdmissionAddedToTheDriverIsAssumedOfExecutors.
//
// Seen failing before drivers were compared: executors of a pool with a taint were thought to lack the toleration for ever.
func TestWhatAdmissionAddedToTheDriverIsAssumedOfExecutors(t *testing.T) {
	toleration := v1.Toleration{Key: "dedicated", Operator: v1.TolerationOpEqual, Value: "spark", Effect: v1.TaintEffectNoSchedule}
	notReady := v1.Toleration{Key: v1.TaintNodeNotReady, Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoExecute}
	affinity := &v1.Affinity{NodeAffinity: &v1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &v1.NodeSelector{
		NodeSelectorTerms: []v1.NodeSelectorTerm{{MatchExpressions: []v1.NodeSelectorRequirement{{Key: "arch", Operator: v1.NodeSelectorOpExists}}}}}}}
	tests := map[string]struct {
		text, template string
		admission      func(*v1.Pod)
		want           string // Assumed
		check          func(*testing.T, *v1.Pod)
	}{
		"nothing": {admission: func(*v1.Pod) {}},
		"what every API server adds": {admission: func(d *v1.Pod) {
			d.Spec.Tolerations = append(d.Spec.Tolerations, notReady)
			d.Spec.ServiceAccountName, d.Spec.NodeName = "spark", "n1"
		}},
		"a toleration": {admission: func(d *v1.Pod) { d.Spec.Tolerations = []v1.Toleration{notReady, toleration} },
			want:  "toleration dedicated=spark:NoSchedule",
			check: func(t *testing.T, e *v1.Pod) { assert.Equal(t, []v1.Toleration{toleration}, e.Spec.Tolerations) }},
		"a toleration that executors have": {template: "spec: {tolerations: [{key: dedicated, operator: Equal, value: spark, effect: NoSchedule}]}",
			admission: func(d *v1.Pod) { d.Spec.Tolerations = []v1.Toleration{toleration} }},
		"a node selector": {text: "spark.kubernetes.node.selector.disk=ssd", admission: func(d *v1.Pod) { d.Spec.NodeSelector["pool"] = "spark" },
			want: "node selector pool=spark",
			check: func(t *testing.T, e *v1.Pod) {
				assert.Equal(t, map[string]string{"disk": "ssd", "pool": "spark"}, e.Spec.NodeSelector)
			}},
		"a node selector that executors have otherwise": {text: "spark.kubernetes.executor.node.selector.pool=gpu",
			admission: func(d *v1.Pod) { d.Spec.NodeSelector = map[string]string{"pool": "spark"} }},
		"a node selector that Spark puts on drivers": {text: "spark.kubernetes.driver.node.selector.pool=small", admission: func(*v1.Pod) {}},
		"affinity": {admission: func(d *v1.Pod) { d.Spec.Affinity = affinity }, want: "affinity",
			check: func(t *testing.T, e *v1.Pod) { assert.Equal(t, affinity, e.Spec.Affinity) }},
		"affinity where executors have their own": {template: "spec: {affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: []}}}",
			admission: func(d *v1.Pod) { d.Spec.Affinity = affinity }},
		"a sidecar": {admission: func(d *v1.Pod) {
			d.Spec.Containers = append(d.Spec.Containers, v1.Container{Name: "mesh", Env: []v1.EnvVar{{Name: "PASSWORD", Value: "hunter2"}},
				Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: amount("100m")}}})
		}, want: "container mesh", check: func(t *testing.T, e *v1.Pod) {
			require.Len(t, e.Spec.Containers, 2)
			assert.Equal(t, "mesh", e.Spec.Containers[1].Name)
			assert.Nil(t, e.Spec.Containers[1].Env)
		}},
		"a priority class": {admission: func(d *v1.Pod) { d.Spec.PriorityClassName = "batch" }, want: "priority class batch",
			check: func(t *testing.T, e *v1.Pod) { assert.Equal(t, "batch", e.Spec.PriorityClassName) }},
		"defaults of a LimitRange": {admission: func(d *v1.Pod) {
			r := d.Spec.Containers[0].Resources
			r.Limits[v1.ResourceCPU], r.Limits[v1.ResourceEphemeralStorage], r.Requests[v1.ResourceEphemeralStorage] = amount("2"), amount("2Gi"), amount("1Gi")
		}, want: "limit of cpu 2, limit of ephemeral-storage 2Gi, request of ephemeral-storage 1Gi", check: func(t *testing.T, e *v1.Pod) {
			assert.Equal(t, "requests cpu=1 ephemeral-storage=1Gi memory=1408Mi limits cpu=2 ephemeral-storage=2Gi memory=1408Mi", resources(e.Spec.Containers[0]))
		}},
		"a default limit below what executors ask for": {text: "spark.executor.cores=4", admission: func(d *v1.Pod) {
			d.Spec.Containers[0].Resources.Limits[v1.ResourceCPU] = amount("2")
		}},
		"a device of the driver": {admission: func(d *v1.Pod) {
			d.Spec.Containers[0].Resources.Limits["nvidia.com/gpu"] = amount("1")
		}},
		"a driver template, which may have said it": {text: "spark.kubernetes.driver.podTemplateFile=/d.yaml",
			admission: func(d *v1.Pod) { d.Spec.Tolerations = []v1.Toleration{toleration} }},
		"an annotation against it": {admission: func(d *v1.Pod) {
			d.Spec.Tolerations = []v1.Toleration{toleration}
			d.Annotations = map[string]string{AnnotationLikeDriver: "false"}
		}},
		"a driver that Spark did not make": {admission: func(d *v1.Pod) {
			d.Spec.Containers[0].Name = "main"
			d.Spec.Tolerations = []v1.Toleration{toleration}
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			driver := madeDriver(t, test.text)
			test.admission(driver)
			template, err := ParseTemplate(orSpec(test.template))
			require.NoError(t, err)
			definition, err := Infer(driver, parsed(t, "spark.kubernetes.scheduler.name=retinue\n"+test.text), template)
			require.NoError(t, err)
			assert.Equal(t, test.want, definition.Assumed)
			role := definition.Roles[0]
			checkDefinition(t, definition)
			assert.Equal(t, test.want != "", role.Plain != nil)
			if test.check != nil {
				test.check(t, role.Pod)
			}
		})
	}
}
