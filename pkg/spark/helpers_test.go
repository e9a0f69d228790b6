package spark

import (
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
