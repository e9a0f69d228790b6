// Package rehearsal is placement's slow path: it plans gangs whose pods have rules that nodes and room do not decide.
//
// Such pod rules are required pod affinity and anti-affinity, topology spread that must hold, host ports, claims and disks.
// The scheduler's snapshot is opened for changes, the leader and then worker after worker is put on a node that all filters
// of the profile accept given those before it, and the snapshot is put back. Nothing of a filter is copied; what is known here
// about filters decides only how soon the search ends.
//
// One rehearsal goes through four files: snapshot.go opens the snapshot and is the only one that calls the framework, search.go
// looks for an arrangement, confirm.go makes sure that the order in which workers come makes no difference, and report.go
// says how far it got.
package rehearsal
