import org.apache.spark.{SparkConf, SparkContext}

/**
 * The smallest Spark application: it opens its context, which makes the driver ask for executors, and waits for its
 * standard input to end.
 */
object Application {
  def main(args: Array[String]): Unit = {
    val context = new SparkContext(new SparkConf())
    println(s"context of ${context.applicationId} is open")
    while (System.in.read() >= 0) {}
    context.stop()
  }
}
