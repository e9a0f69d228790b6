//go:build image

package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	imageVersion = "v1.37.1-retinue.0-image-test"
	epoch        = 1_700_000_000 // seconds: the time of everything in the image
)

// workshop is a place where buildah builds without a registry and without a container engine.
type workshop struct {
	t    *testing.T
	dir  string
	env  []string
	base string // the image that stands for golang
}

func newWorkshop(t *testing.T) *workshop {
	t.Helper()
	require.Zero(t, os.Geteuid(), "buildah needs root here")
	root, err := filepath.Abs("../../.cache/image")
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(root, 0o700))
	w := &workshop{t: t, dir: root}
	w.write("storage.conf", fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n", filepath.Join(root, "storage"), filepath.Join(root, "run")))
	w.write("policy.json", `{"default":[{"type":"insecureAcceptAnything"}]}`) // nothing is pulled
	w.write("registries.conf", "unqualified-search-registries = []\n")
	w.env = append(os.Environ(), "CONTAINERS_STORAGE_CONF="+filepath.Join(root, "storage.conf"), "CONTAINERS_REGISTRIES_CONF="+filepath.Join(root, "registries.conf"),
		"BUILDAH_ISOLATION=chroot", "STORAGE_DRIVER=vfs")
	w.base = "localhost/retinue-go:" + strings.TrimSpace(w.run("", "go", "env", "GOVERSION"))
	if _, err := w.try("", "buildah", "inspect", "--type=image", w.base); err != nil {
		w.makeBase()
	}
	return w
}

func (w *workshop) write(name, content string) {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o600))
}

func (w *workshop) try(dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(w.t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, w.env
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w:\n%s%s", name, strings.Join(args, " "), err, out.String(), complaint.String())
	}
	return out.String(), nil
}

func (w *workshop) run(dir, name string, args ...string) string {
	w.t.Helper()
	out, err := w.try(dir, name, args...)
	require.NoError(w.t, err)
	return out
}

// makeBase makes what stands for the image golang, which cannot be had here: Debian with make and git, and this machine's Go.
func (w *workshop) makeBase() {
	w.t.Helper()
	rootfs := w.t.TempDir()
	w.run("", "mmdebstrap", "--quiet", "--variant=minbase", "--include=make,git,ca-certificates", "bookworm", filepath.Join(rootfs, "base.tar"))
	container := strings.TrimSpace(w.run("", "buildah", "from", "scratch"))
	defer w.run("", "buildah", "rm", container)
	w.run("", "buildah", "add", container, filepath.Join(rootfs, "base.tar"), "/")
	goroot := strings.TrimSpace(w.run("", "go", "env", "GOROOT"))
	w.run("", "buildah", "add", container, goroot, "/usr/local/go")
	w.run("", "buildah", "config", "--env=PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "--env=GOPATH=/go", "--env=GOTOOLCHAIN=local", container)
	w.run("", "buildah", "commit", "--quiet", container, w.base)
}

// build builds the image of a checkout, and returns its manifest's digest and the directory that it was pushed to.
func (w *workshop) build(checkout, tag string) (digest, layout string) {
	w.t.Helper()
	modules, cache := strings.TrimSpace(w.run("", "go", "env", "GOMODCACHE")), strings.TrimSpace(w.run("", "go", "env", "GOCACHE"))
	flags := []string{"--build-arg=GO_IMAGE=" + w.base, "--pull-never", "--no-cache", "--signature-policy=" + filepath.Join(w.dir, "policy.json"),
		"--volume=/etc/ssl/certs:/etc/ssl/certs:ro", "--volume=" + modules + ":/go/pkg/mod", "--volume=" + cache + ":/root/.cache/go-build"}
	cmd := exec.CommandContext(w.t.Context(), filepath.Join(checkout, "hack/image"), "localhost/retinue-scheduler:"+tag)
	cmd.Env = append(w.env, "BUILDER=buildah", "VERSION="+imageVersion, fmt.Sprintf("SOURCE_DATE_EPOCH=%d", epoch), "IMAGE_FLAGS="+strings.Join(flags, " "))
	out, err := cmd.CombinedOutput()
	require.NoError(w.t, err, "%s", out)
	layout = filepath.Join(w.t.TempDir(), "layout")
	w.run("", "buildah", "push", "--quiet", "--signature-policy="+filepath.Join(w.dir, "policy.json"), "localhost/retinue-scheduler:"+tag, "oci:"+layout+":"+tag)
	var index struct {
		Manifests []struct {
			Digest string `json:"digest"`
		} `json:"manifests"`
	}
	content, err := os.ReadFile(filepath.Join(layout, "index.json"))
	require.NoError(w.t, err)
	require.NoError(w.t, json.Unmarshal(content, &index))
	require.Len(w.t, index.Manifests, 1)
	return index.Manifests[0].Digest, layout
}

// TestImageIsStaticNotRootsAndTheSameTwice builds the image from this checkout and from a copy of it at another place.
func TestImageIsStaticNotRootsAndTheSameTwice(t *testing.T) {
	w := newWorkshop(t)
	here, err := filepath.Abs("../..")
	require.NoError(t, err)
	digest, layout := w.build(here, "first")
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	for _, name := range []string{"cmd", "hack", "pkg"} {
		require.NoError(t, os.CopyFS(filepath.Join(elsewhere, name), os.DirFS(filepath.Join(here, name))))
	}
	for _, name := range []string{"Dockerfile", ".dockerignore", "Makefile", "go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(here, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(elsewhere, name), content, 0o644))
	}
	again, _ := w.build(elsewhere, "second")
	require.Equal(t, digest, again, "two builds of one commit differ")

	blob := func(digest string) []byte {
		content, err := os.ReadFile(filepath.Join(layout, "blobs", strings.Replace(digest, ":", "/", 1)))
		require.NoError(t, err)
		return content
	}
	var manifest struct {
		Config struct {
			Digest string `json:"digest"`
		} `json:"config"`
		Layers []struct {
			Digest string `json:"digest"`
		} `json:"layers"`
	}
	require.NoError(t, json.Unmarshal(blob(digest), &manifest))
	var config struct {
		Created time.Time `json:"created"`
		Config  struct {
			User       string   `json:"User"`
			Entrypoint []string `json:"Entrypoint"`
		} `json:"config"`
	}
	require.NoError(t, json.Unmarshal(blob(manifest.Config.Digest), &config))
	require.Equal(t, "65532:65532", config.Config.User)
	require.Equal(t, []string{"/usr/local/bin/scheduler"}, config.Config.Entrypoint)
	require.Equal(t, int64(epoch), config.Created.Unix())

	files := map[string][]byte{}
	for _, layer := range manifest.Layers {
		compressed, err := gzip.NewReader(bytes.NewReader(blob(layer.Digest)))
		require.NoError(t, err)
		for reader := tar.NewReader(compressed); ; {
			header, err := reader.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			require.Equal(t, int64(epoch), header.ModTime.Unix(), header.Name)
			require.Zero(t, header.Mode&0o6022, "%s can be written by others, or is run as another", header.Name)
			if header.Typeflag != tar.TypeDir {
				content, err := io.ReadAll(reader)
				require.NoError(t, err)
				files[header.Name] = content
			}
		}
	}
	const name = "usr/local/bin/scheduler"
	require.Len(t, files, 1, "there is more in it than the program")
	scheduler := files[name]
	static(t, scheduler)
	t.Logf("image %s, program of %.1f MB", digest, float64(len(scheduler))/1e6)

	program := filepath.Join(t.TempDir(), "scheduler")
	require.NoError(t, os.WriteFile(program, scheduler, 0o755))
	require.Contains(t, w.run("", program, "--version"), imageVersion)

	// What is built outside of any image is the same, so what a release says of it is said of the image.
	into := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "../../hack/build", "scheduler")
	cmd.Env = append(os.Environ(), "BUILD_INTO="+into, "STRIP=1", "CGO_ENABLED=0", "VERSION="+imageVersion, "GOFLAGS=-trimpath -buildvcs=false")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	outside, err := os.ReadFile(filepath.Join(into, "scheduler"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(scheduler, outside), "the program in the image is not the one that hack/build makes")

	cmd = exec.CommandContext(t.Context(), "../../hack/sbom", program)
	out, err = cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	list, err := os.ReadFile(program + ".cdx.json")
	require.NoError(t, err)
	ingredients(t, list)
}
