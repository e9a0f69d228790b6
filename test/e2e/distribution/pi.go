package distribution

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
)

//go:embed files/SparkPi.scala
var piSource []byte

// compilePi makes the SparkPi jar with the Scala compiler among Spark's own jars, so that it fits their Scala version.
func compilePi(ctx context.Context, options Options, home, jar string) error {
	fmt.Fprintln(options.Out, "spark image: compile SparkPi")
	work, err := os.MkdirTemp(options.Cache, "sparkpi-*.partial")
	if err != nil {
		return fmt.Errorf("SparkPi: %w", err)
	}
	defer os.RemoveAll(work)
	if err := os.WriteFile(filepath.Join(work, "SparkPi.scala"), piSource, 0o644); err != nil {
		return fmt.Errorf("SparkPi: %w", err)
	}
	compiler := []string{"-cp", filepath.Join(home, "jars", "*"), "scala.tools.nsc.Main", "-usejavacp"}
	if err := run(ctx, work, "java", append(compiler, "-d", "sparkpi.jar", "SparkPi.scala")...); err != nil {
		return err
	}
	return os.Rename(filepath.Join(work, "sparkpi.jar"), jar)
}
