package image

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is what goes into an archive.
type Image struct {
	// Name is the full reference pods use, for example retinue.local/pause:1.
	Name string
	// Layers from the bottom up.
	Layers []Layer
	// Config is what a container of the image runs, as whom and with what environment.
	Config ocispec.ImageConfig
}

// Layer writes an uncompressed tar stream. It is called twice, once for the digest, and must write the same bytes.
type Layer func(w io.Writer) error

// containerdNameAnnotation tells `ctr images import` the full name of an image.
const containerdNameAnnotation = "io.containerd.image.name"

// Write makes the archive at path, in one step: a reader sees the whole file or none.
func Write(path string, image Image) error {
	if image.Name == "" {
		return errors.New("image: Name is empty: give a reference such as retinue.local/pause:1")
	}
	partial := path + ".partial"
	file, err := os.Create(partial)
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	defer os.Remove(partial)
	if err := errors.Join(write(file, image), file.Close()); err != nil {
		return fmt.Errorf("image %s: %w", image.Name, err)
	}
	if err := os.Rename(partial, path); err != nil {
		return fmt.Errorf("image %s: %w", image.Name, err)
	}
	return nil
}

func write(file io.Writer, image Image) error {
	platform := ocispec.Platform{Architecture: architecture, OS: "linux"}
	config := ocispec.Image{Platform: platform, Config: image.Config, RootFS: ocispec.RootFS{Type: "layers"}}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	archive := tar.NewWriter(file)
	for i, layer := range image.Layers {
		descriptor, err := measure(layer)
		if err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		if err := writeHeader(archive, blobPath(descriptor.Digest), descriptor.Size); err != nil {
			return err
		}
		if err := layer(archive); err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		manifest.Layers = append(manifest.Layers, descriptor)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, descriptor.Digest)
	}
	var err error
	if manifest.Config, err = writeBlob(archive, ocispec.MediaTypeImageConfig, config); err != nil {
		return err
	}
	root, err := writeBlob(archive, ocispec.MediaTypeImageManifest, manifest)
	if err != nil {
		return err
	}
	root.Platform = &platform
	root.Annotations = map[string]string{containerdNameAnnotation: image.Name}
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{root},
	}
	return errors.Join(
		writeJSON(archive, ocispec.ImageIndexFile, index),
		writeJSON(archive, ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}),
		archive.Close(),
	)
}

// measure finds digest and size, which the archive needs before the bytes.
func measure(layer Layer) (ocispec.Descriptor, error) {
	digester := digest.Canonical.Digester()
	size := &counter{to: digester.Hash()}
	if err := layer(size); err != nil {
		return ocispec.Descriptor{}, err
	}
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digester.Digest(), Size: size.bytes}, nil
}

// counter counts the bytes it passes on.
type counter struct {
	to    io.Writer
	bytes int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.bytes += int64(n)
	return n, err
}

func writeBlob(archive *tar.Writer, mediaType string, content any) (ocispec.Descriptor, error) {
	encoded, err := json.Marshal(content)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("encode %s: %w", mediaType, err)
	}
	descriptor := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(encoded), Size: int64(len(encoded))}
	return descriptor, writeFile(archive, blobPath(descriptor.Digest), encoded)
}

func writeJSON(archive *tar.Writer, name string, content any) error {
	encoded, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	return writeFile(archive, name, encoded)
}

func writeFile(archive *tar.Writer, name string, content []byte) error {
	if err := writeHeader(archive, name, int64(len(content))); err != nil {
		return err
	}
	_, err := archive.Write(content)
	return err
}

func writeHeader(archive *tar.Writer, name string, size int64) error {
	return archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644})
}

func blobPath(d digest.Digest) string {
	return filepath.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}
