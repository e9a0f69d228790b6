package spark

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	yamlnodes "go.yaml.in/yaml/v3"
	kubejson "k8s.io/apimachinery/pkg/util/json"
	kubeyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// MaxTextBytes bounds a text in YAML or JSON: a pod template, a manifest, an annotation. Real ones have a few thousand
// bytes; what a decoder makes of two bytes can take hundreds.
const MaxTextBytes = 64 << 10

// maxExpanded bounds what a YAML text with aliases stands for once each alias is replaced by a copy of what it names, in
// bytes of scalars and nodeBytes for every node. No text without aliases of MaxTextBytes comes to more.
const (
	maxExpanded = 3 * MaxTextBytes
	nodeBytes   = 2
)

// maxDocuments bounds how many documents are decoded: more than one is wrong anyway.
const maxDocuments = 2

// documents decodes the first documents that have content. strict refuses a key that is there twice.
func documents(text string, strict bool) ([]any, error) {
	if len(text) > MaxTextBytes {
		return nil, fmt.Errorf("%d bytes, more than %d", len(text), MaxTextBytes)
	}
	var document any
	if kubeyaml.IsJSONBuffer([]byte(text)) && !strict && kubejson.Unmarshal([]byte(text), &document) == nil {
		return []any{document}, nil
	}
	decode := func(text []byte) ([]byte, error) { return yaml.YAMLToJSON(text) }
	if strict {
		decode = yaml.YAMLToJSONStrict
	}
	var documents []any
	for reader := kubeyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text))); len(documents) < maxDocuments; {
		next, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("not YAML: %w", oneLine(err))
		}
		if err := checkAliases(next); err != nil {
			return nil, err
		}
		encoded, err := decode(next)
		if err != nil {
			return nil, fmt.Errorf("not YAML: %w", oneLine(err))
		}
		var document any
		if err := kubejson.Unmarshal(encoded, &document); err != nil {
			return nil, fmt.Errorf("not YAML: %w", oneLine(err))
		}
		if document != nil {
			documents = append(documents, document)
		}
	}
	return documents, nil
}

// checkAliases refuses a text that grows beyond measure once its aliases are replaced by what they name, before anything
// replaces them: one long string and three thousand aliases of it are gigabytes.
func checkAliases(text []byte) error {
	if !strings.ContainsAny(string(text), "&*") {
		return nil
	}
	var root yamlnodes.Node
	if err := yamlnodes.Unmarshal(text, &root); err != nil {
		return fmt.Errorf("not YAML: %w", oneLine(err))
	}
	e := expansion{sizes: map[*yamlnodes.Node]int{}}
	size, err := e.of(&root)
	if err != nil {
		return err
	}
	if size > maxExpanded && e.aliases > 0 {
		return fmt.Errorf("its %d aliases stand for more than %d bytes: write out what they name, or leave it out", e.aliases, maxExpanded)
	}
	return nil
}

// expansion measures what nodes stand for without replacing anything.
type expansion struct {
	// sizes of nodes that have been measured, node -> bytes, at most maxExpanded+1; open while that goes on.
	sizes   map[*yamlnodes.Node]int
	aliases int
}

const open = -1

func (e *expansion) of(node *yamlnodes.Node) (int, error) {
	size, measured := e.sizes[node]
	if measured && size == open {
		return 0, fmt.Errorf("line %d: an alias inside of what it names", node.Line)
	}
	if node.Kind == yamlnodes.AliasNode {
		e.aliases++
		return e.of(node.Alias)
	}
	if measured {
		return size, nil
	}
	e.sizes[node] = open
	size = nodeBytes + len(node.Value)
	for _, child := range node.Content {
		more, err := e.of(child)
		if err != nil {
			return 0, err
		}
		size = min(size+more, maxExpanded+1)
	}
	e.sizes[node] = size
	return size, nil
}

// decodeStrictly decodes a document into a type whose fields are all there are.
func decodeStrictly(document, into any) error {
	encoded, err := json.Marshal(document)
	if err != nil {
		return oneLine(err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(encoded)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return decodingError(err)
	}
	return nil
}
