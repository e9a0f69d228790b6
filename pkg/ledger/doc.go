// Package ledger is the one record of who holds what: nodes, the pods on them, and the slots kept for workers to come.
//
// Everything that happens reaches the ledger as an Event through Apply, which answers with Effects for its caller to
// perform. The ledger is a fold over its events: it asks nobody, keeps no clock, starts no goroutine, and events that
// repeat or arrive in another order end in the same state. Readers that need many nodes at once, such as the filters
// of one scheduling cycle, take an immutable View.
//
// How a gang waits without cost: a gang that was tried and did not fit is parked in the waiting room (package waiting), and the
// Gate refuses it before it can reach a scheduling cycle, until the room says that it is worth another try and its turn.
package ledger
