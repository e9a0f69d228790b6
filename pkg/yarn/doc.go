// Package yarn is what the files of YARN's schedulers become: Queues, the objects around them, and a report that names everything.
//
// Convert reads a capacity-scheduler.xml or fair-scheduler.xml. What a file says is a bag of settings, and whoever reads one of them
// says what became of it: carried over, changed, or lost. What nobody has read is lost as well, so that no setting is dropped
// without a word.
//
//	XML ─▶ settings ─▶ tree of queues ─▶ Plan ─▶ YAML
//	           └──────────── report ──────┘
//
// Amounts are those that a ResourceManager of Hadoop 3.4 counts with: whole MiB and vcores, rounded down, in its own precision.
// The answers of a real one are in testdata, and Update computes amounts anew for a cluster of another size.
package yarn
