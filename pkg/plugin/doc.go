// Package plugin is the adapter between kube-scheduler's framework and the ledger; nothing else talks to the cluster.
//
// One file holds one extension point. None of them decides anything: they translate pods and nodes into events for the
// ledger, its verdicts into framework codes (status.go), and its effects into calls (effects.go).
package plugin
