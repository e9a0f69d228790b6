"""Adds up numbers in two stages with a shuffle between them.

    sums.py TASKS MAP_URL REDUCE_URL

Each task of a stage waits until the stage's URL answers: so a test decides when it goes on, and until then the
application has more tasks than executors. What the first stage has written is lost with the executor that did, and its
tasks run again: how often all in all is printed.
"""

import sys
from operator import add
from urllib.request import urlopen

from pyspark.sql import SparkSession


def held(url):
    def hold(partition):
        urlopen(url).close()  # has no time limit of its own
        return partition

    return hold


if __name__ == "__main__":
    tasks, map_url, reduce_url = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    spark = SparkSession.builder.getOrCreate()
    runs = spark.sparkContext.accumulator(0)

    def counted(partition):
        runs.add(1)
        return partition

    numbers = spark.sparkContext.parallelize(range(1, 100 * tasks + 1), tasks)
    pairs = numbers.mapPartitions(held(map_url)).mapPartitions(counted).map(lambda n: (n % 1000, n))
    total = pairs.reduceByKey(add, tasks).mapPartitions(held(reduce_url)).values().sum()
    print("The sum is %d" % total)
    print("Tasks of the first stage: %d" % runs.value)
    spark.stop()
