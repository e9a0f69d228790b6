// Package cluster is a Kubernetes cluster on this machine, made of separate processes and without any container engine.
//
// It runs etcd, kube-apiserver, kube-controller-manager, kwok (fake nodes) and the Retinue scheduler from the binaries
// in bin/, with RBAC on and mutual TLS between all of them. The scheduler runs as the service account of
// manifests/setup with a token of its own, so that a permission missing there is a failure here.
//
// One directory holds all state of one cluster:
//
//	state.json    the configuration and the identity (pid and start time) of every process
//	pki/          the certificate authority, serving and client certificates
//	kubeconfigs/  one per user; admin.kubeconfig is everybody's way in
//	etcd/         the data
//	scheduler/    the scheduler's configuration and token as given to the process
//	kwok/         the stages that fake nodes and their pods go through
//	logs/         one file per component; it survives Stop
//
// Tests start with ForTest; `make cluster-up` is cmd/cluster.
package cluster
