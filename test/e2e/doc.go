// Package e2e is the end-to-end test: real Spark on real nodes, scheduled by Retinue.
//
// It needs root and what `make e2e-deps` installs, and runs with `make e2e`. TestMain starts, inside of a sandbox, the
// control plane of package test/cluster, two nodes (containerd and kubelet) and a DNS server; the tests submit
// applications with an unmodified spark-submit, while a witness watches every pod. Most of them use the scheduler as a process; one installs it from
// its image, with kubectl and with helm.
//
//	sandbox       a box of namespaces out of which nothing stays behind
//	node, dns     what turns the control plane into a cluster that runs containers
//	distribution  Spark, as a home for spark-submit and as an image
//	image         writes image archives
//	witness       sees every change, in order, and judges it
package e2e
