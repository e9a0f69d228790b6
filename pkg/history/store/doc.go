// Package store is the database of who used what: what was observed of pods and nodes, and the sums of it by hour and day.
//
// Observations may come in any order, any number of times, and from several meters at once: what is stored of a pod is the join of
// all observations of it (Span.Merge, Application.Merge), which is commutative, associative and idempotent. From it follows what
// was used: every transaction that changes a span takes what the span had contributed out of the sums and adds what it contributes
// now, so that at any time
//
//	usage_hour = the sum over all spans, cut at the hours between the epoch and the horizon
//
// The epoch is the hour in which the database was made, the horizon how far sums have been rolled up (Store.Roll). An open span
// contributes up to the horizon; that its pod had ended before, which may be learned late, corrects the hours it had been counted
// in. Check computes the right side anew and compares.
//
// All times are milliseconds since 1970 in UTC. Nothing here reads a clock.
package store
