// Command spark-image is the maker of the image that the end-to-end tests run Spark in; it does nothing when the cache holds it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"retinue.dev/retinue/test/e2e/distribution"
)

func main() {
	cache := flag.String("cache", ".cache/e2e", "folder that keeps downloads and images")
	version := flag.String("spark-version", "", "version of Spark, for example 4.1.4 (required)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	spark, err := distribution.Make(ctx, distribution.Options{Cache: *cache, Version: *version, Out: os.Stderr})
	if err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "spark-image:", err)
		os.Exit(1)
	}
	fmt.Println(spark.Archive)
}
