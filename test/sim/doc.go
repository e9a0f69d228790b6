// Package sim is a deterministic simulation of a cluster around the real plugin and ledger, driven by a seed.
//
// Real are pkg/plugin through its factory and extension points, everything below it, kube-scheduler's framework
// runtime, its cache and snapshot, and its own filters for resources, taints, cordons and node affinity. Simulated are
// the API server, the informers, the scheduling queue, the order of the scheduling and binding cycles, nodes, Spark,
// other schedulers, and time:
//
//	          watch             notifications                 PreEnqueue … PostBind
//	API ──────────────▶ informer ──┬──────▶ plugin ◀──────────────────────────────── scheduling queue
//	 ▲  ▲                          └──────▶ scheduler's handlers ──────────────────▶  and cycles
//	 │  │                                                                                │
//	 │  └───────────── patch, get, activate: calls of the plugin's goroutines            │
//	 └──────────────────────────────── bind, patch ──────────────────────────────────────┘
//
// Everything that happens is an entry of one agenda, ordered by time; the seed draws delays, faults and workloads.
// Every replica of the scheduler sees the API through informers that lag, break and list again, and each of its two
// listeners has a backlog of its own, as in client-go. The plugin's goroutines run only while the simulation waits for
// them: it goes on when all of them are blocked, and whatever they ask of the world outside stands in a queue until
// the simulation, not the Go scheduler, decides when it is served and answered. So the same seed does the same, down
// to the last line of the trace.
//
// In a part of the seeds kube-scheduler's handlers hear of everything milliseconds after the plugin's, so that its cycles look at
// a snapshot that does not show yet what the ledger knows.
//
// In a part of the seeds there are queues, which change during the storm. They are no objects of the simulated API: every
// replica is told of them through the ledger, at its start and with delays of its own.
//
// Kubernetes' own PodGroups are not simulated; docs/decisions/0013 says where they are tested.
//
// Time stands still while the scheduler thinks, but for one filter, which takes its time over workers of the strangers' gangs that have to be
// rehearsed: so that it shows what share of a minute they get.
//
// Whenever somebody is tried, it is looked who else fits and is allowed: that one has to be tried before anybody is tried twice.
//
// After every event the invariants are checked against what the simulation knows to be true, not against what the
// ledger believes. A seed goes through three acts: a storm of workload and faults; then calm, in which no fault
// happens, running applications end one after another, and nothing may be left waiting that would fit; and the end,
// when everything is deleted and nothing may be held or remembered.
package sim
