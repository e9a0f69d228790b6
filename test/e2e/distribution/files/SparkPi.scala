import java.net.URI
import java.util.concurrent.ThreadLocalRandom

import org.apache.spark.sql.SparkSession

/**
 * Estimates pi by throwing darts at a square.
 *
 *   SparkPi TASKS [RELEASE_URL]
 *
 * With RELEASE_URL the application keeps its executors after the first round until the URL answers, and then throws
 * once more: so a test decides how long it runs.
 */
object SparkPi {
  private val dartsPerTask = 200000

  def main(args: Array[String]): Unit = {
    val tasks = args(0).toInt
    val spark = SparkSession.builder().getOrCreate()
    var pi = estimate(spark, tasks)
    if (args.length > 1) {
      new URI(args(1)).toURL.openStream().close() // has no time limit of its own
      pi = estimate(spark, tasks)
    }
    val executors = spark.sparkContext.statusTracker.getExecutorInfos.length - 1 // without the driver itself
    println(s"Executors: $executors")
    println(s"Pi is roughly $pi")
    spark.stop()
  }

  private def estimate(spark: SparkSession, tasks: Int): Double = {
    val darts = dartsPerTask
    val hits = spark.sparkContext.parallelize(1 to tasks, tasks).map { _ =>
      val random = ThreadLocalRandom.current()
      (1 to darts).count { _ =>
        val (x, y) = (random.nextDouble(), random.nextDouble())
        x * x + y * y <= 1
      }.toLong
    }.reduce(_ + _)
    4.0 * hits / (tasks.toLong * darts)
  }
}
