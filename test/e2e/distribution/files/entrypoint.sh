#!/bin/bash
# What a container of the image runs. Spark on Kubernetes starts its pods with one of these commands and tells the rest
# in environment variables:
#
#   driver ARGUMENTS…   spark-submit in client mode, bound to the pod's address
#   executor            one executor, connected to the driver
#
# Anything else is run as it is.
set -euo pipefail

# The working directory comes first, then what the user added, then Spark itself.
classpath="${SPARK_CLASSPATH:-}:$PWD:$SPARK_HOME/jars/*"
if [[ -n "${SPARK_EXTRA_CLASSPATH:-}" ]]; then
  classpath="$classpath:$SPARK_EXTRA_CLASSPATH"
fi
if [[ -n "${SPARK_CONF_DIR:-}" ]]; then
  classpath="$SPARK_CONF_DIR:$classpath"
fi

java="${JAVA_HOME:+$JAVA_HOME/bin/}java"

# SPARK_JAVA_OPT_0, SPARK_JAVA_OPT_1, … each hold one option of the executor's JVM.
java_options=()
for ((i = 0; ; i++)); do
  name="SPARK_JAVA_OPT_$i"
  [[ -n "${!name+set}" ]] || break
  java_options+=("${!name}")
done

case "${1:-}" in
  driver)
    shift
    command=(
      "$SPARK_HOME/bin/spark-submit"
      --conf "spark.driver.bindAddress=$SPARK_DRIVER_BIND_ADDRESS"
      --conf "spark.executorEnv.SPARK_DRIVER_POD_IP=$SPARK_DRIVER_BIND_ADDRESS"
      --deploy-mode client
      "$@"
    )
    ;;
  executor)
    command=(
      "$java"
      "${java_options[@]}"
      "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY"
      -cp "$classpath:${SPARK_DIST_CLASSPATH:-}"
      org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend
      --driver-url "$SPARK_DRIVER_URL"
      --executor-id "$SPARK_EXECUTOR_ID"
      --cores "$SPARK_EXECUTOR_CORES"
      --app-id "$SPARK_APPLICATION_ID"
      --hostname "$SPARK_EXECUTOR_POD_IP"
      --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID"
      --podName "$SPARK_EXECUTOR_POD_NAME"
    )
    ;;
  *)
    command=("$@")
    ;;
esac

# tini reaps what Spark leaves behind and passes signals on.
exec /usr/bin/tini -s -- "${command[@]}"
