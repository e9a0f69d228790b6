package yarn

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	yamlnodes "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
)

// Write prints the objects of a plan, ready to be applied: the Queues, then what stands around them.
func (p *Plan) Write(out io.Writer) error {
	var b bytes.Buffer
	for _, q := range p.Queues {
		head := q.Path
		if q.Label != "" {
			head += ", nodes with label " + q.Label
		}
		document := struct {
			APIVersion string             `json:"apiVersion"`
			Kind       string             `json:"kind"`
			Metadata   map[string]string  `json:"metadata"`
			Spec       v1alpha1.QueueSpec `json:"spec"`
		}{v1alpha1.GroupVersion, "Queue", map[string]string{"name": q.Name}, q.Spec}
		if err := write(&b, head, document, q.Comments); err != nil {
			return fmt.Errorf("queue %s: %w", q.Name, err)
		}
	}
	for _, object := range p.Objects {
		if err := write(&b, "", object, nil); err != nil {
			return err
		}
	}
	_, err := out.Write(b.Bytes())
	return err
}

// write prints one document, with comments beside fields below its spec.
func write(b *bytes.Buffer, head string, object any, comments map[string]string) error {
	text, err := yaml.Marshal(object)
	if err != nil {
		return err
	}
	var document yamlnodes.Node
	if err := yamlnodes.Unmarshal(text, &document); err != nil {
		return err
	}
	root := document.Content[0]
	drop(root, "status")
	for path, text := range comments {
		// The name of a resource may have dots and comes last.
		node := valueOf(root, "spec")
		for node != nil && path != "" {
			if found := valueOf(node, path); found != nil {
				node, path = found, ""
				break
			}
			var key string
			key, path, _ = strings.Cut(path, ".")
			node = valueOf(node, key)
		}
		if node != nil {
			node.LineComment = text
		}
	}
	b.WriteString("---\n")
	if head != "" {
		fmt.Fprintf(b, "# %s\n", printable(head))
	}
	encoder := yamlnodes.NewEncoder(b)
	encoder.SetIndent(2)
	if err := encoder.Encode(&document); err != nil {
		return err
	}
	return encoder.Close()
}

// valueOf a key of a mapping; nil means that there is none.
func valueOf(node *yamlnodes.Node, key string) *yamlnodes.Node {
	if node == nil || node.Kind != yamlnodes.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i+1]
		}
	}
	return nil
}

func drop(node *yamlnodes.Node, key string) {
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			node.Content = append(node.Content[:i], node.Content[i+2:]...)
			return
		}
	}
}
