package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestWriteMakesAnArchiveWhoseDigestsHold(t *testing.T) {
	folder := t.TempDir()
	mustWrite(t, filepath.Join(folder, "bin", "run"), "#!/bin/sh\n", 0o755)
	mustWrite(t, filepath.Join(folder, "README"), "hello\n", 0o644)
	layer := Tree(Source{From: folder, To: "/opt/app"})
	archive := filepath.Join(t.TempDir(), "image.tar")

	err := Write(archive, Image{
		Name:   "retinue.local/app:1",
		Layers: []Layer{layer},
		Config: ocispec.ImageConfig{Entrypoint: []string{"/opt/app/bin/run"}, User: "185"},
	})
	if err != nil {
		t.Fatal(err)
	}

	entries := readTar(t, mustOpen(t, archive))
	var index ocispec.Index
	mustDecode(t, entries["index.json"], &index)
	if got := index.Manifests[0].Annotations[containerdNameAnnotation]; got != "retinue.local/app:1" {
		t.Errorf("name in the index: %q", got)
	}
	var manifest ocispec.Manifest
	mustDecode(t, blob(t, entries, index.Manifests[0]), &manifest)
	var config ocispec.Image
	mustDecode(t, blob(t, entries, manifest.Config), &config)
	if config.Config.User != "185" {
		t.Errorf("user: %q", config.Config.User)
	}
	content := blob(t, entries, manifest.Layers[0])
	if diff := cmp.Diff([]digest.Digest{digest.FromBytes(content)}, config.RootFS.DiffIDs); diff != "" {
		t.Errorf("diff ids (-want +got):\n%s", diff)
	}
	files := readTar(t, bytes.NewReader(content))
	if got := string(files["opt/app/bin/run"]); got != "#!/bin/sh\n" {
		t.Errorf("opt/app/bin/run: %q", got)
	}
	for _, parent := range []string{"opt/", "opt/app/", "opt/app/bin/"} {
		if _, ok := files[parent]; !ok {
			t.Errorf("the layer lacks the folder %s", parent)
		}
	}
}

func TestTreeRefusesARelativePlace(t *testing.T) {
	if err := Tree(Source{From: t.TempDir(), To: "opt"})(io.Discard); err == nil {
		t.Error("no error for the relative place \"opt\"")
	}
}

func TestAFailedWriteLeavesNoFile(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "image.tar")
	broken := func(io.Writer) error { return errors.New("disk on fire") }
	if err := Write(archive, Image{Name: "retinue.local/app:1", Layers: []Layer{broken}}); err == nil {
		t.Fatal("no error")
	}
	left, err := filepath.Glob(archive + "*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func mustWrite(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), mode)); err != nil {
		t.Fatal(err)
	}
}

func mustOpen(t *testing.T, path string) io.Reader {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

func mustDecode(t *testing.T, content []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(content, into); err != nil {
		t.Fatal(err)
	}
}

// readTar returns name -> content of every entry.
func readTar(t *testing.T, from io.Reader) map[string][]byte {
	t.Helper()
	entries := map[string][]byte{}
	for reader := tar.NewReader(from); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		if entries[header.Name], err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
	}
}

func blob(t *testing.T, entries map[string][]byte, descriptor ocispec.Descriptor) []byte {
	t.Helper()
	content := entries[blobPath(descriptor.Digest)]
	if got := digest.FromBytes(content); got != descriptor.Digest || int64(len(content)) != descriptor.Size {
		t.Fatalf("blob %s holds %d bytes of digest %s", descriptor.Digest, len(content), got)
	}
	return content
}
