package spark

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// ParseTemplate reads a pod template as users and operators write it: a Pod or a PodTemplate, in YAML or JSON. Like
// Spark it takes the first document and passes over fields it does not know.
func ParseTemplate(text string) (*v1.Pod, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("the executor pod template has %d bytes, more than %d", len(text), MaxBytes)
	}
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 1<<10)
	var document json.RawMessage
	if err := decoder.Decode(&document); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the executor pod template is not YAML: %w", oneLine(err))
	}
	pod := &v1.Pod{}
	if len(document) == 0 {
		return pod, nil
	}
	if err := json.Unmarshal(document, pod); err != nil {
		return nil, fmt.Errorf("the executor pod template is not a pod: %w", oneLine(err))
	}
	return pod, nil
}

// oneLine keeps an error of a decoder to one short line: it may repeat what it read.
func oneLine(err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > 3*quotedBytes {
		text = strings.ToValidUTF8(text[:3*quotedBytes], "") + "…"
	}
	return errors.New(text)
}
