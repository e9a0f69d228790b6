// Package witness is an independent observer of what Spark and the scheduler do: it sees every change, in order, and judges it.
//
// It shares no code with the scheduler. From pods alone it knows at each moment what is free on every node, and
// reports when a gang was started half: a driver is bound although its executors cannot all be.
package witness
