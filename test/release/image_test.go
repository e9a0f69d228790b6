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

// built builds the image of a checkout anew, and returns its manifest's digest and the directory that it was pushed to.
func built(t *testing.T, checkout string) (digest, layout string) {
	t.Helper()
	require.Zero(t, os.Geteuid(), "buildah needs root here")
	const name = "localhost/retinue-image-test"
	cmd := exec.CommandContext(t.Context(), filepath.Join(checkout, "hack/image"), name)
	cmd.Env = append(os.Environ(), "LOCAL=1", "VERSION="+imageVersion, fmt.Sprintf("SOURCE_DATE_EPOCH=%d", epoch), "IMAGE_FLAGS=--no-cache")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	kept := filepath.Join(checkout, ".cache/image")
	layout = filepath.Join(t.TempDir(), "layout")
	cmd = exec.CommandContext(t.Context(), "buildah", "push", "--quiet", "--signature-policy="+filepath.Join(kept, "policy.json"), name, "oci:"+layout+":image")
	cmd.Env = append(os.Environ(), "CONTAINERS_STORAGE_CONF="+filepath.Join(kept, "storage.conf"), "STORAGE_DRIVER=vfs")
	out, err = cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	var index struct {
		Manifests []struct {
			Digest string `json:"digest"`
		} `json:"manifests"`
	}
	content, err := os.ReadFile(filepath.Join(layout, "index.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(content, &index))
	require.Len(t, index.Manifests, 1)
	return index.Manifests[0].Digest, layout
}

// TestImageIsStaticNotRootsAndTheSameTwice builds the image from this checkout and from a copy of it at another place.
func TestImageIsStaticNotRootsAndTheSameTwice(t *testing.T) {
	here, err := filepath.Abs("../..")
	require.NoError(t, err)
	digest, layout := built(t, here)
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	for _, name := range []string{"cmd", "hack", "pkg"} {
		require.NoError(t, os.CopyFS(filepath.Join(elsewhere, name), os.DirFS(filepath.Join(here, name))))
	}
	for _, name := range []string{"Dockerfile", ".dockerignore", "Makefile", "go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(here, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(elsewhere, name), content, 0o644))
	}
	// What stands for the image golang is the same, as it would be by its digest.
	kept := filepath.Join(elsewhere, ".cache/image")
	require.NoError(t, os.MkdirAll(filepath.Dir(kept), 0o755))
	out, err := exec.CommandContext(t.Context(), "cp", "-a", filepath.Join(here, ".cache/image"), kept).CombinedOutput()
	require.NoError(t, err, "%s", out)
	again, _ := built(t, elsewhere)
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
	out, err = exec.CommandContext(t.Context(), program, "--version").Output()
	require.NoError(t, err)
	require.Contains(t, string(out), imageVersion)

	// What is built outside of any image is the same, so what a release says of it is said of the image.
	into := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "../../hack/build", "scheduler")
	cmd.Env = append(os.Environ(), "BUILD_INTO="+into, "STRIP=1", "CGO_ENABLED=0", "VERSION="+imageVersion, "GOFLAGS=-trimpath -buildvcs=false")
	out, err = cmd.CombinedOutput()
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
