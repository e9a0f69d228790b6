package spark

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"retinue.dev/retinue/pkg/resource"
)

// Difference is one field in which a real worker is not as predicted.
type Difference struct {
	Field     string // as in a pod's manifest
	Predicted string // "" means not there
	Real      string // "" means not there
}

// String is the form for events: `requests.memory: 2Gi instead of 1408Mi`.
func (d Difference) String() string {
	return fmt.Sprintf("%s: %s instead of %s", d.Field, or(d.Real, "nothing"), or(d.Predicted, "nothing"))
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// Compare finds every field in which a real worker differs from the predicted one, as far as scheduling is concerned:
// what it requests, where it may run and by what it is selected. The order is fixed. Empty means that the prediction
// was right. What every API server adds by itself is no difference.
func Compare(predicted, real *v1.Pod) []Difference {
	var c comparison
	c.requests(resource.OfPod(predicted).List(), resource.OfPod(real).List())
	c.text("spec.schedulerName", schedulerOf(predicted), schedulerOf(real))
	c.value("spec.nodeSelector", predicted.Spec.NodeSelector, real.Spec.NodeSelector)
	c.value("spec.tolerations", ownTolerations(predicted), ownTolerations(real))
	c.value("spec.affinity", predicted.Spec.Affinity, real.Spec.Affinity)
	c.value("spec.topologySpreadConstraints", predicted.Spec.TopologySpreadConstraints, real.Spec.TopologySpreadConstraints)
	c.text("spec.priorityClassName", predicted.Spec.PriorityClassName, real.Spec.PriorityClassName)
	c.value("spec.runtimeClassName", predicted.Spec.RuntimeClassName, real.Spec.RuntimeClassName)
	c.value("spec.hostNetwork", predicted.Spec.HostNetwork, real.Spec.HostNetwork)
	c.value("host ports", hostPorts(predicted), hostPorts(real))
	c.value("persistent volume claims", claimNames(predicted), claimNames(real))
	c.containers("spec.initContainers", predicted.Spec.InitContainers, real.Spec.InitContainers)
	c.containers("spec.containers", predicted.Spec.Containers, real.Spec.Containers)
	c.labels(predicted.Labels, real.Labels)
	return c.differences
}

type comparison struct{ differences []Difference }

func (c *comparison) text(field, predicted, real string) {
	if predicted != real {
		c.differences = append(c.differences, Difference{field, predicted, real})
	}
}

// value compares by meaning and shows the values as JSON.
func (c *comparison) value(field string, predicted, real any) {
	if !equality.Semantic.DeepEqual(predicted, real) {
		c.text(field, show(predicted), show(real))
	}
}

func show(value any) string {
	encoded, err := json.Marshal(value)
	if err != nil || string(encoded) == "null" {
		return ""
	}
	return string(encoded)
}

func (c *comparison) requests(predicted, real v1.ResourceList) {
	c.amounts("requests", predicted, real)
}

func (c *comparison) amounts(field string, predicted, real v1.ResourceList) {
	names := map[v1.ResourceName]bool{}
	for name := range predicted {
		names[name] = true
	}
	for name := range real {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		p, inPredicted := predicted[name]
		r, inReal := real[name]
		if inPredicted == inReal && p.Cmp(r) == 0 {
			continue
		}
		difference := Difference{Field: field + "." + string(name)}
		if inPredicted {
			difference.Predicted = p.String()
		}
		if inReal {
			difference.Real = r.String()
		}
		c.differences = append(c.differences, difference)
	}
}

// containers compares two lists container by container, by name.
func (c *comparison) containers(field string, predicted, real []v1.Container) {
	for _, p := range predicted {
		at := field + "[" + p.Name + "]"
		i := slices.IndexFunc(real, func(r v1.Container) bool { return r.Name == p.Name })
		if i < 0 {
			c.text(at, "a container", "")
			continue
		}
		c.amounts(at+".requests", p.Resources.Requests, real[i].Resources.Requests)
		c.amounts(at+".limits", p.Resources.Limits, real[i].Resources.Limits)
		c.value(at+".restartPolicy", p.RestartPolicy, real[i].RestartPolicy)
	}
	for _, r := range real {
		if !slices.ContainsFunc(predicted, func(p v1.Container) bool { return r.Name == p.Name }) {
			c.text(field+"["+r.Name+"]", "", "a container")
		}
	}
}

// labels compares those that are predicted. Others, such as the executor's number, select nothing that was planned. The
// application's name is left out: code may change it, as Spark's own Python examples do, which means nothing.
func (c *comparison) labels(predicted, real map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(predicted)) {
		if name == LabelAppName {
			continue
		}
		c.text("metadata.labels["+name+"]", predicted[name], real[name])
	}
}

func schedulerOf(pod *v1.Pod) string { return or(pod.Spec.SchedulerName, v1.DefaultSchedulerName) }

// ownTolerations leaves out the two that the API server gives to every pod.
func ownTolerations(pod *v1.Pod) []v1.Toleration {
	return slices.DeleteFunc(slices.Clone(pod.Spec.Tolerations), func(t v1.Toleration) bool {
		return (t.Key == v1.TaintNodeNotReady || t.Key == v1.TaintNodeUnreachable) && t.Effect == v1.TaintEffectNoExecute
	})
}

func hostPorts(pod *v1.Pod) []string {
	var ports []string
	for _, containers := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, container := range containers {
			for _, port := range container.Ports {
				if port.HostPort != 0 {
					ports = append(ports, fmt.Sprintf("%s %s:%d", port.Protocol, port.HostIP, port.HostPort))
				}
			}
		}
	}
	slices.Sort(ports)
	return ports
}

func claimNames(pod *v1.Pod) []string {
	var names []string
	for _, volume := range pod.Spec.Volumes {
		if volume.PersistentVolumeClaim != nil {
			names = append(names, volume.PersistentVolumeClaim.ClaimName)
		}
	}
	slices.SortFunc(names, strings.Compare)
	return names
}
