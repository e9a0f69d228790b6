// Package reclaim is the answer to one question: who has to go so that a waiter fits, and where its pods go then.
//
// Values in, plan out: a Cluster is everything that the answer depends on, as it was at one moment, and belongs to whoever asks.
// So the answer may take as long as it needs while the cluster goes on; a Plan is checked when it is carried out, by somebody
// else. Who may be taken back, and in which order, is for quota.SelectVictims to say; whether the waiter then fits the nodes,
// for placement.
//
// What may be taken back is kept in an Index of Holders: gangs, and pods by themselves. A Holder never changes; when something
// becomes of the gang a new one takes its place.
package reclaim
