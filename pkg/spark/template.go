package spark

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/json"

	"retinue.dev/retinue/pkg/resource"
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
	documents, err := documents(text, false)
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
	documents, err := documents(text, false)
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
	if err := resource.Check[v1.Pod](document); err != nil {
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

// The fields that are kept of a container and of a volume. Dropping the others, environment and commands among them,
// before anything is decoded keeps secrets out and leaves quantities in known places only.
var (
	containerFields = []string{"name", "image", "resources", "ports", "restartPolicy"}
	volumeFields    = []string{"name", "persistentVolumeClaim", "gcePersistentDisk", "awsElasticBlockStore", "iscsi", "rbd", "csi"}
)

// maxItems bounds the containers, volumes, tolerations and topology constraints of a pod: a list of nothing, two bytes each,
// would become hundreds of bytes each.
const maxItems = 256

// prune removes from a decoded pod what is not kept.
func prune(document any) error {
	spec, _ := child(document, "spec").(map[string]any)
	if spec == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(spec)) {
		if items := len(list(spec[name])); items > maxItems {
			return fmt.Errorf("spec.%s: %d items, more than %d", name, items, maxItems)
		}
	}
	delete(spec, "ephemeralContainers")
	for _, name := range []string{"initContainers", "containers"} {
		for _, container := range list(spec[name]) {
			keep(container, containerFields)
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
	return nil
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
