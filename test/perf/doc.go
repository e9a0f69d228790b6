// Package perf is how fast Retinue is beside its baselines, measured with Kubernetes' own scheduler_perf: etcd is a process, the
// API server and the scheduler run in the test. Nothing here is built without the tag perf.
//
// Every workload is run by four schedulers, one after the other, again and again:
//
//   - Retinue, with the shipped configuration
//   - Default: kube-scheduler as it comes, with the same pods; it knows no gangs
//   - Native: kube-scheduler with Kubernetes' own PodGroups
//   - Ceiling: every pod is pinned to a node that has room, without thinking: what the API server allows
//
// In the forms with Queues there is no Native, and one more: "no Queues" is Retinue with the same pods and without Queues.
//
// There are two basic forms: AllUpFront, where all pods of an application exist from the start, and DriverFirst, where its executors
// are created when its driver is bound. A native gang cannot contain a driver that creates the others, so with DriverFirst
// the native group is the executors alone. The other forms are DriverFirst with something else besides.
//
// In Queues and QueuesUpFront the scheduler is held until everybody waits who is to wait at the start; see hold_test.go. In Burst, drivers are
// those of Spark, whose Service and ConfigMap come after them, and requests to the API server are counted.
//
// scheduler_perf counts pods once a second, which says little about a run of five seconds. So the figures are those of an
// observer that watches the API: pods per second from the first pod's creation to the last binding.
package perf
