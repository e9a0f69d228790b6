package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"retinue.dev/retinue/test/upstream"
)

// tests is the folder of upstream's packages in the module k8s.io/kubernetes.
const tests = "k8s.io/kubernetes/test/integration/scheduler"

// untrimmed is a package that finds its own folder by the path it was compiled from, also when all others are built with -trimpath.
const untrimmed = "k8s.io/kubernetes/cmd/kube-apiserver/app/testing"

// patches are the files of the copy that differ from the module, and how.
var patches = map[string]func(source []byte) ([]byte, error){
	"pkg/scheduler/scheduler.go":                upstream.Patch,
	"test/integration/framework/test_server.go": upstream.Patient,
}

// tree is the patched copy of the module k8s.io/kubernetes, and how the go command is told of it.
type tree struct {
	// cache is the folder that holds everything this command writes.
	cache string
	// copied is the root of the copy.
	copied  string
	modfile string
}

// plant copies the module, unless that has been done, patches the copy, and writes the module file that replaces one by the other.
func plant(ctx context.Context, cache string) (*tree, error) {
	if _, err := output(ctx, "go", "mod", "download", "k8s.io/kubernetes"); err != nil {
		return nil, err
	}
	out, err := output(ctx, "go", "list", "-m", "-f", "{{.Dir}}\n{{.Version}}", "k8s.io/kubernetes")
	if err != nil {
		return nil, err
	}
	module, version, _ := strings.Cut(strings.TrimSpace(out), "\n")
	t := &tree{cache: cache, copied: filepath.Join(cache, "kubernetes-"+version), modfile: filepath.Join(cache, "go.mod")}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	if _, err := os.Stat(t.copied); os.IsNotExist(err) {
		fresh := t.copied + ".new"
		if err := os.RemoveAll(fresh); err != nil {
			return nil, err
		}
		if err := copyTree(module, fresh); err != nil {
			return nil, err
		}
		if err := os.Rename(fresh, t.copied); err != nil {
			return nil, err
		}
	}
	for file, patch := range patches {
		source, err := os.ReadFile(filepath.Join(module, file))
		if err != nil {
			return nil, err
		}
		text, err := patch(source)
		if err != nil {
			return nil, fmt.Errorf("patching %s of k8s.io/kubernetes %s: %w", file, version, err)
		}
		if err := writeIfChanged(filepath.Join(t.copied, file), text); err != nil {
			return nil, err
		}
	}
	own := filepath.Join(t.copied, strings.TrimPrefix(tests, "k8s.io/kubernetes/"), upstream.Own)
	if err := os.MkdirAll(own, 0o755); err != nil {
		return nil, err
	}
	if err := writeIfChanged(filepath.Join(own, "evictions_test.go"), upstream.Evictions); err != nil {
		return nil, err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(cache, name), text, 0o644); err != nil {
			return nil, err
		}
	}
	_, err = output(ctx, "go", "mod", "edit", "-replace", "k8s.io/kubernetes="+t.copied, t.modfile)
	return t, err
}

// packages are upstream's packages with tests, below the folder tests; "." is that folder itself.
func (t *tree) packages(ctx context.Context) ([]string, error) {
	out, err := output(ctx, "go", "list", "-mod=mod", "-modfile="+t.modfile, "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}", tests+"/...")
	if err != nil {
		return nil, err
	}
	var packages []string
	for _, path := range strings.Fields(out) {
		if path == tests {
			packages = append(packages, ".")
		} else {
			packages = append(packages, strings.TrimPrefix(path, tests+"/"))
		}
	}
	return packages, nil
}

// build makes the test binary of a package.
func (t *tree) build(ctx context.Context, pkg string) (binary string, err error) {
	binary = filepath.Join(t.cache, "tests", flat(pkg)+".test")
	_, err = output(ctx, "go", "test", "-c", "-vet=off", "-gcflags="+untrimmed+"=-trimpath=", "-mod=mod", "-modfile="+t.modfile, "-o", binary, filepath.Join(tests, pkg))
	return binary, err
}

// flat is a package's name as one of a file.
func flat(pkg string) string {
	if pkg == "." {
		return "scheduler"
	}
	return strings.ReplaceAll(pkg, "/", "-")
}

// output runs a command to its end and gives what it printed; what it said otherwise is part of the error.
func output(ctx context.Context, name string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, name, args...)
	var said bytes.Buffer
	command.Stderr = &said
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, said.String())
	}
	return string(out), nil
}

func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(to, inside), 0o755)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, inside), text, 0o644)
	})
}

func writeIfChanged(path string, text []byte) error {
	if now, err := os.ReadFile(path); err == nil && bytes.Equal(now, text) {
		return nil
	}
	return os.WriteFile(path, text, 0o644)
}
