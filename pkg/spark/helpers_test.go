package spark

import (
	"maps"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
)

// shapeOf sums up a driver and its role of executors; nil means that there is none.
func shapeOf(driver *v1.Pod, role *gang.Role) shape {
	s := shape{Driver: resource.OfPod(driver).String()}
	if role == nil {
		return s
	}
	s.Executor = role.Requests.String()
	s.Count, s.Minimum, s.Maximum = role.Count, role.Minimum, -1
	if role.Maximum != nil {
		s.Maximum = *role.Maximum
	}
	return s
}

// resources writes down what a container asks for, sorted.
func resources(container v1.Container) string {
	words := func(list v1.ResourceList) string {
		text := ""
		for _, name := range slices.Sorted(maps.Keys(list)) {
			quantity := list[name]
			text += " " + string(name) + "=" + quantity.String()
		}
		return text
	}
	return "requests" + words(container.Resources.Requests) + " limits" + words(container.Resources.Limits)
}

// checkDefinition makes sure that a definition holds what its type promises.
func checkDefinition(t *testing.T, definition gang.Definition) {
	t.Helper()
	for _, warning := range definition.Warnings {
		if len(warning) > 1000 || strings.ContainsAny(warning, "\n\r") {
			t.Errorf("a warning of %d bytes, or of several lines: %.1000q", len(warning), warning)
		}
	}
	for _, role := range definition.Roles {
		if role.Name == "" || role.Pod == nil || len(role.Selector) == 0 {
			t.Errorf("an incomplete role: %+v", role)
		}
		if role.Count < 0 || role.Minimum < 0 || role.Minimum > role.Count || role.Maximum != nil && *role.Maximum < role.Count {
			t.Errorf("numbers that contradict each other: %+v", role)
		}
		if !role.Requests.Equal(resource.OfPod(role.Pod)) {
			t.Errorf("requests %v, pod %v", role.Requests, resource.OfPod(role.Pod))
		}
		if v := role.Requests; v.CPU < 0 || v.Memory < 0 || v.EphemeralStorage < 0 {
			t.Errorf("negative requests: %v", v)
		}
	}
}
