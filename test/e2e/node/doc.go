// Package node is a real Kubernetes node: containerd, kubelet and kube-proxy in a network namespace of their own.
//
// Several nodes on one machine share its kernel and its processors and little else:
//
//	            the namespace of the caller: control plane, DNS
//	                  bridge, router between the nodes
//	                 /                                \
//	namespace node-1: eth0                    namespace node-2: eth0
//	containerd, kubelet, kube-proxy           containerd, kubelet, kube-proxy
//	one veth pair for each pod                one veth pair for each pod
//
// It is made for use inside of package sandbox and cleans nothing up: the end of the sandbox is the end of the nodes.
package node
