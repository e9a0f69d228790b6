// Modules of which only files are used: definitions of which manifests and examples make objects. Nothing of theirs is compiled.
module retinue.dev/retinue/hack/definitions

go 1.26.0

require (
	github.com/kubeflow/spark-operator/v2 v2.5.0
	github.com/prometheus-operator/prometheus-operator v0.92.0
)
