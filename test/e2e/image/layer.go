package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
)

// architecture of every image: that of the machine which runs the tests.
const architecture = runtime.GOARCH

// TarFile is a layer that exists as a tar file.
func TarFile(path string) Layer {
	return func(w io.Writer) error {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		_, err = io.Copy(w, file)
		return err
	}
}

// Source is a file or a folder of this machine and its place in the image.
type Source struct {
	From string // a path here
	To   string // an absolute path in the image
}

// Tree is a layer of files and folders. All of them belong to root and carry no time, so that the same content gives
// the same digest. Missing parent folders are made.
func Tree(sources ...Source) Layer {
	return func(w io.Writer) error {
		tree := treeWriter{archive: tar.NewWriter(w), folders: map[string]bool{".": true, "/": true}}
		for _, source := range sources {
			if err := tree.add(source); err != nil {
				return fmt.Errorf("add %s as %s: %w", source.From, source.To, err)
			}
		}
		return tree.archive.Close()
	}
}

type treeWriter struct {
	archive *tar.Writer
	folders map[string]bool // path -> true for every folder written
}

func (t *treeWriter) add(source Source) error {
	if !path.IsAbs(source.To) {
		return errors.New("the place in the image is not an absolute path")
	}
	if err := t.parents(path.Dir(source.To)); err != nil {
		return err
	}
	return filepath.WalkDir(source.From, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(source.From, file)
		if err != nil {
			return err
		}
		return t.write(file, path.Join(source.To, filepath.ToSlash(relative)), entry)
	})
}

func (t *treeWriter) parents(folder string) error {
	if t.folders[folder] {
		return nil
	}
	if err := t.parents(path.Dir(folder)); err != nil {
		return err
	}
	t.folders[folder] = true
	return t.archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: folder[1:] + "/", Mode: 0o755})
}

func (t *treeWriter) write(file, place string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	name := place[1:]
	switch mode := info.Mode(); mode.Type() {
	case fs.ModeDir:
		return t.parents(place)
	case fs.ModeSymlink:
		target, err := os.Readlink(file)
		if err != nil {
			return err
		}
		return t.archive.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777})
	case 0:
		header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: int64(mode.Perm())}
		if err := t.archive.WriteHeader(header); err != nil {
			return err
		}
		return TarFile(file)(t.archive)
	default:
		return fmt.Errorf("%s is neither file, folder nor symbolic link", file)
	}
}
