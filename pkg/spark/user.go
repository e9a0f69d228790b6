package spark

import (
	"cmp"
	"strings"

	v1 "k8s.io/api/core/v1"
)

const (
	// LabelUser names the user whose a pod is. The annotation of the same name is for names that are no label's value,
	// such as mail addresses.
	LabelUser = "retinue.dev/user"
	// EnvironmentUser is the variable in which Spark tells its own processes who submitted the application.
	EnvironmentUser = "SPARK_USER"
	// maxUser is the length of a user's name in bytes; what is longer is cut.
	maxUser = 253
)

// User is whose a pod says it is; "" means that it does not say. Like every label it is a claim: whoever may create pods
// may write it.
func User(pod *v1.Pod) string {
	user := strings.TrimSpace(cmp.Or(pod.Labels[LabelUser], pod.Annotations[LabelUser], submitter(pod)))
	if len(user) > maxUser {
		user = user[:maxUser]
	}
	return strings.ToValidUTF8(user, "")
}

// submitter is the user that Spark names in the container of the driver or executor. What a container would read from
// elsewhere is not known here.
func submitter(pod *v1.Pod) string {
	if !IsDriver(pod) && !IsExecutor(pod) {
		return ""
	}
	named := ""
	for i := range pod.Spec.Containers {
		container := &pod.Spec.Containers[i]
		own := container.Name == DriverContainer || container.Name == ExecutorContainer
		for _, variable := range container.Env {
			if variable.Name == EnvironmentUser && (named == "" || own) {
				named = variable.Value
			}
		}
	}
	return named
}
