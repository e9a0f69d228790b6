package distribution

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// homeRevision changes when the layout below does.
const homeRevision = "2"

// homePlaces: folder in the source package pyspark -> folder in a Spark home. What is in none of them is not needed.
var homePlaces = map[string]string{
	"deps/bin":      "bin",
	"deps/data":     "data",
	"deps/examples": "examples/src/main/python",
	"deps/jars":     "jars",
	"deps/licenses": "licenses",
	"deps/sbin":     "sbin",
	"lib":           "python/lib",
	"pyspark":       "python/pyspark",
	"LICENSE":       "LICENSE",
	"NOTICE":        "NOTICE",
}

// makeHome downloads Spark and lays it out as a Spark home at path, in one step.
func makeHome(ctx context.Context, options Options, path string) error {
	work, err := os.MkdirTemp(options.Cache, "spark-"+options.Version+"-*.partial")
	if err != nil {
		return fmt.Errorf("spark home: %w", err)
	}
	defer os.RemoveAll(work)
	fmt.Fprintf(options.Out, "spark image: download Spark %s\n", options.Version)
	err = run(ctx, work, "python3", "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:", "--dest=.", "pyspark=="+options.Version)
	if err != nil {
		return err
	}
	packages, err := filepath.Glob(filepath.Join(work, "pyspark-*.tar.gz"))
	if err != nil || len(packages) != 1 {
		return fmt.Errorf("spark home: pip downloaded %d packages, want pyspark-%s.tar.gz", len(packages), options.Version)
	}
	home := filepath.Join(work, "home")
	if err := unpack(packages[0], home); err != nil {
		return fmt.Errorf("spark home: unpack %s: %w", filepath.Base(packages[0]), err)
	}
	return os.Rename(home, path)
}

// unpack puts the files of a source package where a Spark home has them.
func unpack(archive, home string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	compressed, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	// Nothing in the archive can reach outside of home through the root.
	if err := os.MkdirAll(home, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(home)
	if err != nil {
		return err
	}
	defer root.Close()
	for reader := tar.NewReader(compressed); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		place, needed := homePlace(header.Name)
		if !needed || header.Typeflag != tar.TypeReg {
			continue
		}
		if err := writeFile(root, place, header.FileInfo().Mode().Perm(), reader); err != nil {
			return err
		}
	}
}

// homePlace says where an entry of the source package belongs.
func homePlace(entry string) (place string, needed bool) {
	_, inside, _ := strings.Cut(entry, "/") // after pyspark-VERSION
	for from, to := range homePlaces {
		if rest, ok := strings.CutPrefix(inside, from); ok && (rest == "" || rest[0] == '/') {
			return to + rest, true
		}
	}
	return "", false
}

func writeFile(root *os.Root, place string, mode os.FileMode, content io.Reader) error {
	if err := root.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return err
	}
	file, err := root.OpenFile(place, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	// The mask of whoever runs this must not keep the image's user from reading.
	return errors.Join(err, file.Chmod(mode), file.Close())
}
