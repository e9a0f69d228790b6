package main

import (
	"strconv"
	"time"

	"retinue.dev/retinue/test/sparksim"
)

// The cluster. Its nodes hold exactly the drivers of all applications and nothing else: the trap that a scheduler
// which places pod by pod walks into when many applications come at once.
const (
	nodes      = 4
	nodeCPU    = 8
	nodeMemory = "64Gi"
	podCPU     = 2 // of every driver and every executor
)

// How long things take.
const (
	startUp = 3 * time.Second // of a driver's JVM, until it asks for executors
	runTime = 6 * time.Second // of an application that has all its executors
)

// application is one line of the demo.
type application struct {
	name      string
	executors int
}

// cpu is what the application asks for in all.
func (a application) cpu() int { return podCPU * (1 + a.executors) }

// fits tells whether the application fits the empty cluster.
func (a application) fits() bool { return a.cpu() <= nodes*nodeCPU }

// applications are those of the demo, in the order of their submission.
func applications() []application {
	return []application{
		{"etl-orders", 3}, {"etl-clicks", 3}, {"ml-train", 6}, {"daily-report", 2},
		{"year-end", 20}, {"features", 4}, {"sessions", 5}, {"dedup", 2},
		{"etl-stock", 3}, {"backfill", 8}, {"churn", 4}, {"billing", 2},
		{"join-large", 6}, {"compact", 3}, {"export", 2}, {"audit", 3},
	}
}

// spark is what a user hands to spark-submit. The scheduler's name is the only difference between the acts; "" leaves
// it out.
func (a application) spark(scheduler string) sparksim.Application {
	properties := map[string]string{
		"spark.driver.cores":       strconv.Itoa(podCPU),
		"spark.executor.cores":     strconv.Itoa(podCPU),
		"spark.executor.instances": strconv.Itoa(a.executors),
		"spark.executor.memory":    "4g",
		"spark.kubernetes.driver.annotation." + sparksim.AnnotationRunTime: runTime.String(),
	}
	if scheduler != "" {
		properties["spark.kubernetes.scheduler.name"] = scheduler
	}
	return sparksim.Application{Name: a.name, Properties: properties}
}
