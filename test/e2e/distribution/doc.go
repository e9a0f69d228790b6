// Package distribution is Spark as its users get it: a home for spark-submit on this machine, and the image its pods run.
//
// Spark comes from the Python package index, where the source package pyspark holds every jar, the scripts and the
// Python library. The image puts it on a small Debian with a Java runtime. What the package lacks against Spark's
// own image is made here: the entrypoint, and the SparkPi example.
//
// Everything is cached by version and by the content of what it is made from; a second run only looks.
package distribution
