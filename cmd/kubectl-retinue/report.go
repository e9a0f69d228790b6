package main

import (
	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
)

// report is the answer of the gang command. Scripts read it: fields are added, never renamed.
type report struct {
	// Driver is empty in a gang without one.
	Driver  amounts  `json:"driver"`
	Workers []worker `json:"workers"`
	Source  string   `json:"source"`
	// SparkVersion and Language are what the inference went by; empty where nothing was inferred from properties.
	SparkVersion string `json:"sparkVersion,omitempty"`
	Language     string `json:"language,omitempty"`
	// Assumed is what executors are thought to get because admission gave it to the driver.
	Assumed  string   `json:"assumed,omitempty"`
	Warnings []string `json:"warnings"`
}

// amounts is resource -> canonical quantity.
type amounts map[v1.ResourceName]string

type worker struct {
	Role    string `json:"role"`
	Count   int    `json:"count"`
	Minimum int    `json:"minimum"`
	// Maximum is null without limit.
	Maximum     *int        `json:"maximum"`
	Requests    amounts     `json:"requests"`
	Constraints constraints `json:"constraints"`
}

// constraints is where a worker may run, in the words of a pod's manifest. Empty means anywhere.
type constraints struct {
	NodeSelector              map[string]string             `json:"nodeSelector,omitempty"`
	Tolerations               []v1.Toleration               `json:"tolerations,omitempty"`
	Affinity                  *v1.Affinity                  `json:"affinity,omitempty"`
	TopologySpreadConstraints []v1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`
	PriorityClassName         string                        `json:"priorityClassName,omitempty"`
	HostPorts                 []int32                       `json:"hostPorts,omitempty"`
	PersistentVolumeClaims    []string                      `json:"persistentVolumeClaims,omitempty"`
}

func newReport(driver *v1.Pod, definition gang.Definition) report {
	r := report{
		Driver:   amountsOf(resource.OfPod(driver)),
		Workers:  []worker{},
		Source:   definition.Source,
		Warnings: append([]string{}, definition.Warnings...),
	}
	for _, role := range definition.Roles {
		r.Workers = append(r.Workers, worker{
			Role:        role.Name,
			Count:       role.Count,
			Minimum:     role.Minimum,
			Maximum:     role.Maximum,
			Requests:    amountsOf(role.Requests),
			Constraints: constraintsOf(role.Pod),
		})
	}
	return r
}

func amountsOf(v resource.Vector) amounts {
	a := amounts{}
	for name, quantity := range v.List() {
		a[name] = quantity.String()
	}
	return a
}

func constraintsOf(pod *v1.Pod) constraints {
	c := constraints{
		NodeSelector:              pod.Spec.NodeSelector,
		Tolerations:               pod.Spec.Tolerations,
		Affinity:                  pod.Spec.Affinity,
		TopologySpreadConstraints: pod.Spec.TopologySpreadConstraints,
		PriorityClassName:         pod.Spec.PriorityClassName,
	}
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.HostPort != 0 {
				c.HostPorts = append(c.HostPorts, port.HostPort)
			}
		}
	}
	for _, volume := range pod.Spec.Volumes {
		if volume.PersistentVolumeClaim != nil {
			c.PersistentVolumeClaims = append(c.PersistentVolumeClaims, volume.PersistentVolumeClaim.ClaimName)
		}
	}
	return c
}
