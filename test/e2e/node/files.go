package node

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
)

//go:embed files
var files embed.FS

var templates = template.Must(template.New("").Option("missingkey=error").ParseFS(files, "files/*"))

// writeFiles writes the configuration of everything on the node.
func (n *Node) writeFiles() error {
	for _, folder := range []string{n.Dir, n.State(), filepath.Join(n.Dir, "cni")} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	for source, path := range map[string]string{
		"containerd.toml": n.path("containerd.toml"),
		"cni.conflist":    n.path("cni/pods.conflist"),
		"kubelet.yaml":    n.path("kubelet.yaml"),
		"kube-proxy.yaml": n.path("kube-proxy.yaml"),
	} {
		file, err := os.Create(path)
		if err != nil {
			return err
		}
		if err := errors.Join(templates.ExecuteTemplate(file, source, n), file.Close()); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	return nil
}
