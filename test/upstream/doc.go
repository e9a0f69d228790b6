// Package upstream is Kubernetes' own integration tests of its scheduler, run with and without Retinue.
//
// Nobody here wrote those tests, so they judge what the tests of this project cannot: that a pod which needs nothing of Retinue is
// treated as kube-scheduler treats it. A copy of the pinned module k8s.io/kubernetes is patched at one place, the function that sets a
// scheduler up, where package profile puts the shipped profile under the one that a test asks for. One binary per package is built
// from the copy and run twice; what passes without Retinue and not with it has to stand in docs/upstream.md, by name and with its reason.
package upstream
