// Package spark is what a Spark driver pod and the configuration it points to say about the gang it will form.
//
// spark-submit in cluster mode creates the driver pod first and then the ConfigMaps that the pod mounts: the resolved
// Spark properties, and the executors' pod template when there is one. From these three the package computes what
// Spark's own driver will compute later: how many executors it asks for and what each executor pod looks like. Where
// Spark versions differ, the label spark-version of the driver decides.
//
// Everything here is a pure function. Properties are untrusted and often hold secrets: ParseProperties keeps the keys
// that this package reads (see Keys) and forgets the rest, and no error quotes the value of any other key.
package spark
