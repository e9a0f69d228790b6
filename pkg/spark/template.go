package spark

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// ParseTemplate reads a pod template as users and operators write it: a Pod, in YAML or JSON. Like Spark it passes over
// fields it does not know, and refuses what makes a driver fail as soon as it loads it: a template without spec, and
// several documents. Only what concerns scheduling is kept.
func ParseTemplate(text string) (*v1.Pod, error) {
	pod, err := parseTemplate(text)
	if err != nil {
		return nil, fmt.Errorf("the executor pod template: %w", err)
	}
	return pod, nil
}

func parseTemplate(text string) (*v1.Pod, error) {
	documents, err := documents(text)
	switch {
	case err != nil:
		return nil, err
	case len(documents) > 1:
		return nil, errors.New("more than one document, Spark will refuse to start")
	case len(documents) == 0:
		return nil, errors.New("nothing in it, Spark will refuse to start")
	}
	pod, err := podOf(documents[0])
	if err != nil {
		return nil, err
	}
	if child(documents[0], "spec") == nil {
		return nil, errors.New("spec: required, Spark will refuse to start")
	}
	return pod, nil
}

// ParsePod reads a manifest of a pod from somebody who is not trusted, as far as scheduling is concerned. Of several
// documents it takes the first.
func ParsePod(text string) (*v1.Pod, error) {
	documents, err := documents(text)
	if err != nil {
		return nil, err
	}
	if len(documents) == 0 {
		return &v1.Pod{}, nil
	}
	return podOf(documents[0])
}

// podOf decodes a pod, as far as scheduling is concerned.
func podOf(document any) (*v1.Pod, error) {
	pod := &v1.Pod{}
	if kind, _ := child(document, "kind").(string); kind != "" && kind != "Pod" {
		return nil, fmt.Errorf("kind %s, want Pod", quote(kind))
	}
	if err := prune(document); err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("not YAML: %w", oneLine(err))
	}
	if err := json.Unmarshal(encoded, pod); err != nil {
		return nil, fmt.Errorf("not a pod: %w", decodingError(err))
	}
	return pod, nil
}

// maxDocuments bounds how many documents are decoded: more than one is wrong anyway.
const maxDocuments = 2

// documents decodes the first documents that have content.
func documents(text string) ([]any, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("%d bytes, more than %d", len(text), MaxBytes)
	}
	var document any
	if yaml.IsJSONBuffer([]byte(text)) && json.Unmarshal([]byte(text), &document) == nil {
		return []any{document}, nil
	}
	var documents []any
	for decoder := yaml.NewYAMLToJSONDecoder(strings.NewReader(text)); len(documents) < maxDocuments; {
		document = nil
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("not YAML: %w", oneLine(err))
		}
		if document != nil {
			documents = append(documents, document)
		}
	}
	return documents, nil
}

// The fields that are kept of a container and of a volume. Dropping the others, environment and commands among them,
// before anything is decoded keeps secrets out and leaves quantities in known places only.
var (
	containerFields = []string{"name", "image", "resources", "ports", "restartPolicy"}
	volumeFields    = []string{"name", "persistentVolumeClaim", "gcePersistentDisk", "awsElasticBlockStore", "iscsi", "rbd", "csi"}
)

// prune removes from a decoded pod what is not kept, and checks its quantities.
func prune(document any) error {
	spec, _ := child(document, "spec").(map[string]any)
	if spec == nil {
		return nil
	}
	delete(spec, "ephemeralContainers")
	for _, name := range []string{"initContainers", "containers"} {
		for i, container := range list(spec[name]) {
			keep(container, containerFields)
			if err := checkResources(fmt.Sprintf("spec.%s[%d].resources", name, i), child(container, "resources")); err != nil {
				return err
			}
		}
	}
	for _, volume := range list(spec["volumes"]) {
		// Who made the claim of an ephemeral volume, and in which zone, shows only once it exists.
		if fields, isMap := volume.(map[string]any); isMap && fields["ephemeral"] != nil {
			keep(volume, append(slices.Clone(volumeFields), "ephemeral"))
			fields["ephemeral"] = map[string]any{}
			continue
		}
		keep(volume, volumeFields)
	}
	if err := checkResources("spec.resources", spec["resources"]); err != nil {
		return err
	}
	return checkQuantities("spec.overhead", spec["overhead"])
}

func child(value any, name string) any {
	fields, _ := value.(map[string]any)
	return fields[name]
}

func list(value any) []any {
	items, _ := value.([]any)
	return items
}

// keep removes all other fields.
func keep(value any, names []string) {
	fields, _ := value.(map[string]any)
	for name := range fields {
		if !slices.Contains(names, name) {
			delete(fields, name)
		}
	}
}

func checkResources(path string, resources any) error {
	for _, name := range []string{"requests", "limits"} {
		if err := checkQuantities(path+"."+name, child(resources, name)); err != nil {
			return err
		}
	}
	return nil
}

// checkQuantities makes sure that every value of a resource list may be decoded.
func checkQuantities(path string, value any) error {
	amounts, _ := value.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(amounts)) {
		text := fmt.Sprint(amounts[name])
		if _, err := parseQuantity(text); err != nil {
			return fmt.Errorf("%s.%s=%s: %w", path, name, quote(text), err)
		}
	}
	return nil
}
