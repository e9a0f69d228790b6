//go:build release

package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

const version = "v1.37.1-retinue.0-test"

// platforms that are released.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64"}

// release makes one of a checkout, with the environment besides, and returns its files: name -> content.
func release(t *testing.T, checkout string) map[string][]byte {
	t.Helper()
	cmd := command(t, checkout, "hack/release")
	cmd.Env = append(cmd.Env, "RELEASE_URL=https://example.org/"+version)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	dir := filepath.Join(checkout, ".cache/release")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	files := map[string][]byte{}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		require.NoError(t, err)
		files[entry.Name()] = content
	}
	return files
}

func command(t *testing.T, dir, name string, args ...string) *exec.Cmd {
	t.Helper()
	if strings.Contains(name, "/") {
		name = filepath.Join(dir, name)
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "VERSION=", "GOFLAGS=-trimpath -buildvcs=false")
	return cmd
}

// checkout clones the commit that is checked out here.
func checkout(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "clone")
	out, err := command(t, "../..", "git", "clone", "--quiet", ".", dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return dir
}

// unpack reads an archive: name -> content. Nothing in it is anybody's.
func unpack(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	compressed, err := gzip.NewReader(bytes.NewReader(archive))
	require.NoError(t, err)
	files := map[string][]byte{}
	for reader := tar.NewReader(compressed); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		require.NoError(t, err)
		require.Zero(t, header.Uid, header.Name)
		require.Zero(t, header.Gid, header.Name)
		require.Zero(t, header.Mode&0o022, "%s can be written by others", header.Name)
		content, err := io.ReadAll(reader)
		require.NoError(t, err)
		if header.Typeflag == tar.TypeReg {
			files[path.Clean(header.Name)] = content
		}
	}
}

// manifest is what krew reads.
type manifest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Version          string `json:"version"`
		Homepage         string `json:"homepage"`
		ShortDescription string `json:"shortDescription"`
		Description      string `json:"description"`
		Platforms        []struct {
			Selector struct {
				MatchLabels map[string]string `json:"matchLabels"`
			} `json:"selector"`
			URI    string `json:"uri"`
			SHA256 string `json:"sha256"`
			Bin    string `json:"bin"`
		} `json:"platforms"`
	} `json:"spec"`
}

// TestReleaseIsCompleteAndTheSameTwice makes a release of a tag twice. Compiled packages are shared between the two, as hack/build always does; what is linked,
// packed and counted is made anew.
func TestReleaseIsCompleteAndTheSameTwice(t *testing.T) {
	here := checkout(t)
	out, err := command(t, here, "hack/release").CombinedOutput()
	require.Error(t, err, "a commit without a tag is released: %s", out)
	require.Contains(t, string(out), "git tag ")
	out, err = command(t, here, "git", "tag", version).CombinedOutput()
	require.NoError(t, err, "%s", out)
	files := release(t, here)
	again := release(t, here)
	require.Len(t, again, len(files))
	for name, content := range files {
		require.True(t, bytes.Equal(content, again[name]), "%s differs", name)
	}

	sums := map[string]string{}
	for line := range strings.Lines(string(files["SHA256SUMS"])) {
		fields := strings.Fields(line)
		require.Len(t, fields, 2)
		sums[path.Clean(fields[1])] = fields[0]
	}
	for name, content := range files {
		if name != "SHA256SUMS" {
			sum := sha256.Sum256(content)
			require.Equal(t, hex.EncodeToString(sum[:]), sums[name], name)
		}
	}
	require.Len(t, sums, len(files)-1)

	var krew manifest
	require.NoError(t, yaml.UnmarshalStrict(files["retinue.yaml"], &krew))
	require.Equal(t, version, krew.Spec.Version)
	require.Len(t, krew.Spec.Platforms, len(platforms))
	for i, platform := range krew.Spec.Platforms {
		name := platforms[i]
		require.Equal(t, name, platform.Selector.MatchLabels["os"]+"/"+platform.Selector.MatchLabels["arch"])
		file := path.Base(platform.URI)
		require.Equal(t, "https://example.org/"+version+"/"+file, platform.URI)
		require.Equal(t, sums[file], platform.SHA256, name)
		inside := unpack(t, files[file])
		require.Len(t, inside, 2, name)
		require.Contains(t, string(inside["LICENSE"]), "Apache License", name)
		program(t, name, inside[platform.Bin])
		ingredients(t, files[strings.TrimSuffix(file, ".tar.gz")+".cdx.json"])
	}
	ingredients(t, files["scheduler_"+version+"_linux_"+runtime.GOARCH+".cdx.json"])

	chart := unpack(t, files["retinue-"+strings.TrimPrefix(version, "v")+".tgz"])
	require.Contains(t, string(chart["retinue/Chart.yaml"]), "\nversion: "+strings.TrimPrefix(version, "v")+"\n")
	require.Contains(t, string(chart["retinue/Chart.yaml"]), "\nappVersion: "+version+"\n")
	require.Contains(t, chart, "retinue/templates/deployment.yaml")
}

// program looks into one that was built for a platform.
func program(t *testing.T, platform string, content []byte) {
	t.Helper()
	require.NotEmpty(t, content, platform)
	told, err := buildinfo.Read(bytes.NewReader(content))
	require.NoError(t, err, platform)
	settings := map[string]string{}
	for _, setting := range told.Settings {
		settings[setting.Key] = setting.Value
	}
	require.Equal(t, platform, settings["GOOS"]+"/"+settings["GOARCH"])
	require.Equal(t, "0", settings["CGO_ENABLED"], platform)
	require.Equal(t, "true", settings["-trimpath"], platform)
	require.Contains(t, string(content), version, "%s is not stamped", platform)
	if strings.HasPrefix(platform, "linux/") {
		static(t, content)
	}
	if platform == "linux/amd64" {
		file := filepath.Join(t.TempDir(), "kubectl-retinue")
		require.NoError(t, os.WriteFile(file, content, 0o755))
		out, err := exec.CommandContext(t.Context(), file, "--version").CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), version)
	}
}
