package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

var (
	//go:embed files/Application.scala
	scalaSource []byte
	//go:embed files/application.py
	pythonSource []byte
)

// home is one version of Spark on this machine, as far as spark-submit and a driver need it, with the applications
// that the drivers run.
type home struct {
	version string
	dir     string // SPARK_HOME
}

func (h home) jar() string    { return filepath.Join(h.dir, "application.jar") }
func (h home) python() string { return filepath.Join(h.dir, "application.py") }

// submit is a spark-submit with these arguments, which works in dir: a driver puts copies of its files there, and its
// temporary files, which it leaves behind when it is killed. Its process group ends with the context.
func (h home) submit(ctx context.Context, dir, confDir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(h.dir, "bin", "spark-submit"), args...)
	cmd.Env = append(os.Environ(),
		"SPARK_HOME="+h.dir,
		"SPARK_CONF_DIR="+confDir,
		"SPARK_LOCAL_IP=127.0.0.1",
		"PYSPARK_PYTHON=python3",
		// Short-lived processes: no time for the second compiler, no threads for the collector.
		"JAVA_TOOL_OPTIONS=-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Djava.io.tmpdir="+dir,
	)
	cmd.Dir = dir
	ownGroup(cmd)
	return cmd
}

// packages: folder in the source package pyspark -> folder in a Spark home.
var packages = map[string]string{"deps/bin": "bin", "deps/jars": "jars", "lib": "python/lib", "pyspark": "python/pyspark"}

// fetchHome returns a version of Spark from the cache; it is downloaded from the Python package index when it is not
// there. The source package holds every jar, the scripts and the Python library.
func fetchHome(ctx context.Context, cache, version string, log func(string, ...any)) (home, error) {
	cache, err := filepath.Abs(cache)
	if err != nil {
		return home{}, fmt.Errorf("cache: %w", err)
	}
	h := home{version: version, dir: filepath.Join(cache, "spark-"+version)}
	if _, err := os.Stat(h.dir); !errors.Is(err, fs.ErrNotExist) {
		return h, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return home{}, fmt.Errorf("cache: %w", err)
	}
	work, err := os.MkdirTemp(cache, "partial-*")
	if err != nil {
		return home{}, fmt.Errorf("cache: %w", err)
	}
	defer os.RemoveAll(work)
	log("downloading Spark %s", version)
	partial := home{version: version, dir: filepath.Join(work, "home")}
	if err := partial.unpack(ctx, work); err != nil {
		return home{}, err
	}
	if err := partial.compile(ctx); err != nil {
		return home{}, err
	}
	return h, os.Rename(partial.dir, h.dir)
}

// unpack downloads the source package into work and lays it out in h.
func (h home) unpack(ctx context.Context, work string) error {
	err := run(ctx, work, "python3", "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:", "--dest=.", "pyspark=="+h.version)
	if err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(work, "pyspark-*.tar.gz"))
	if err != nil || len(archives) != 1 {
		return fmt.Errorf("pip downloaded %d packages, want pyspark-%s.tar.gz", len(archives), h.version)
	}
	source := filepath.Join(work, "source")
	if err := os.Mkdir(source, 0o755); err != nil {
		return err
	}
	if err := run(ctx, work, "tar", "-xzf", archives[0], "--strip-components=1", "-C", source); err != nil {
		return err
	}
	for from, to := range packages {
		target := filepath.Join(h.dir, to)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(source, from), target); err != nil {
			return err
		}
	}
	return os.WriteFile(h.python(), pythonSource, 0o644)
}

// compile makes the jar with the Scala compiler among Spark's own jars, so that it fits their Scala version.
func (h home) compile(ctx context.Context) error {
	source := filepath.Join(h.dir, "Application.scala")
	if err := os.WriteFile(source, scalaSource, 0o644); err != nil {
		return err
	}
	return run(ctx, h.dir, "java", "-cp", filepath.Join(h.dir, "jars", "*"), "scala.tools.nsc.Main", "-usejavacp", "-d", h.jar(), source)
}

// run runs a program and shows its output only when it fails.
func run(ctx context.Context, dir, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	ownGroup(cmd)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, output)
	}
	return nil
}
