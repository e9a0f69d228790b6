// Package remains is what an installation of Retinue leaves in a cluster.
package remains

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// Objects lists those of all kinds and namespaces that bear the name of Retinue, are in a namespace of that name, or are labelled as a part of it.
// Events are left out: they tell what has been, for an hour. The error passes when a definition is just going.
func Objects(ctx context.Context, config *rest.Config) ([]string, error) {
	asked, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("remains: %w", err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("remains: %w", err)
	}
	lists, err := asked.ServerPreferredResources()
	if err != nil {
		return nil, fmt.Errorf("remains: %w", err)
	}
	var found []string
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, fmt.Errorf("remains: %w", err)
		}
		for _, kind := range list.APIResources {
			if !slices.Contains(kind.Verbs, "list") || kind.Name == "events" {
				continue
			}
			objects, err := client.Resource(version.WithResource(kind.Name)).List(ctx, metav1.ListOptions{})
			if err != nil {
				return nil, fmt.Errorf("remains: %s: %w", kind.Name, err)
			}
			for i := range objects.Items {
				if object := &objects.Items[i]; ours(object) {
					found = append(found, fmt.Sprintf("%s %s/%s", kind.Name, object.GetNamespace(), object.GetName()))
				}
			}
		}
	}
	return found, nil
}

func ours(object *unstructured.Unstructured) bool {
	return strings.Contains(object.GetName(), "retinue") || strings.HasPrefix(object.GetNamespace(), "retinue") ||
		strings.HasPrefix(object.GetLabels()["app.kubernetes.io/name"], "retinue")
}
