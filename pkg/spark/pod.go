package spark

import (
	v1 "k8s.io/api/core/v1"
)

// Labels that Spark puts on the pods it builds. Users cannot override them through Spark, but whoever may create pods
// can forge them: they say which application a pod claims to belong to, not that it does.
const (
	LabelRole            = "spark-role"
	LabelApp             = "spark-app-selector" // the application id, on driver and executors
	LabelAppName         = "spark-app-name"
	LabelVersion         = "spark-version" // of the submitting client on the driver, of the driver on executors
	LabelExecutorID      = "spark-exec-id" // a number, or "EXECID" with the statefulset and deployment allocators
	LabelResourceProfile = "spark-exec-resourceprofile-id"

	RoleDriver   = "driver"
	RoleExecutor = "executor"
	// DefaultResourceProfile is the resource profile that spark.properties describes. Others exist in application
	// code only.
	DefaultResourceProfile = "0"
)

// Names that Spark gives to containers when the pod template does not.
const (
	DriverContainer   = "spark-kubernetes-driver"
	ExecutorContainer = "spark-kubernetes-executor"
)

// operatorLabel marks pods that the kubeflow spark-operator submitted. Its webhook sets fields, schedulerName among
// them, that spark.properties does not show.
const operatorLabel = "sparkoperator.k8s.io/launched-by-spark-operator"

// IsDriver tells whether a pod claims to be the driver of an application submitted in cluster mode.
func IsDriver(pod *v1.Pod) bool { return pod.Labels[LabelRole] == RoleDriver && AppID(pod) != "" }

// IsExecutor tells whether a pod claims to be an executor of some application.
func IsExecutor(pod *v1.Pod) bool { return pod.Labels[LabelRole] == RoleExecutor && AppID(pod) != "" }

// AppID is the application a pod claims to belong to; "" means none.
func AppID(pod *v1.Pod) string { return pod.Labels[LabelApp] }

// InDefaultProfile tells whether an executor has the shape that spark.properties describes. Executors of other
// resource profiles are sized by application code and cannot be predicted.
func InDefaultProfile(executor *v1.Pod) bool {
	id, labelled := executor.Labels[LabelResourceProfile]
	return !labelled || id == DefaultResourceProfile
}
