"""The smallest PySpark application: it opens its context, which makes the driver ask for executors, and waits for its
standard input to end."""
import sys

from pyspark import SparkContext

context = SparkContext()
print(f"context of {context.applicationId} is open", flush=True)
sys.stdin.read()
context.stop()
