// Package sparksim is a stand-in for Spark: it submits applications as spark-submit does, and plays their drivers on
// fake nodes.
//
// Submission creates the objects of spark-submit in cluster mode, in its order: the driver pod, its service, and last
// the ConfigMap with spark.properties that the driver mounts.
//
// A Simulator does what Spark's drivers do once they run. It reads the ConfigMap of every running driver pod, asks for
// executors in batches, replaces those that are lost, works for the time that the application is said to take, deletes
// its executors and ends. So it needs a cluster in which nothing but time is fake: scheduler and API server are real.
// What the shape of an executor is it asks retinue.dev/retinue/pkg/spark, which is compared with real Spark elsewhere.
//
// An application's driver pod says by annotations what the application is like:
//
//	sparksim.retinue.dev/run-time   how long it works once all its executors run, such as 30s; with half of them it
//	                                works twice as long. 0s ends it at once. Without it, it works until that is set.
//	sparksim.retinue.dev/outcome    Succeeded (the default), or Failed: its driver crashes at the end of the run time
//	                                and leaves pending executors behind
//	sparksim.retinue.dev/executors  how many executors it can use with dynamic allocation
//	sparksim.retinue.dev/code       Spark settings, as lines KEY=VALUE, that its code makes before its context starts
//
// As with any annotation of a driver, spark-submit sets them with
// --conf spark.kubernetes.driver.annotation.sparksim.retinue.dev/run-time=30s.
package sparksim
