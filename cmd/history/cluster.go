package main

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/pager"

	"retinue.dev/retinue/pkg/history/meter"
)

// clients of one cluster.
type clients struct {
	typed    kubernetes.Interface
	dynamic  dynamic.Interface
	metadata metadata.Interface
}

// connect to the cluster of a kubeconfig; of the pod that this is, without one.
func connect(kubeconfig string) (*clients, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("the cluster: %w", err)
	}
	config.UserAgent = "retinue-history"
	c := &clients{}
	if c.typed, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	if c.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, err
	}
	c.metadata, err = metadata.NewForConfig(config)
	return c, err
}

// list is what is in the cluster, by a list that no cache answers.
func (c *clients) list(ctx context.Context) (meter.Present, error) {
	present := meter.Present{UIDs: map[string]bool{}, Applications: map[string]bool{}}
	for _, resource := range []string{"pods", "nodes"} {
		of := c.metadata.Resource(v1.SchemeGroupVersion.WithResource(resource))
		pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return of.List(ctx, options)
		})
		err := pages.EachListItem(ctx, metav1.ListOptions{Limit: 2000}, func(object runtime.Object) error {
			found, ok := object.(*metav1.PartialObjectMetadata)
			if !ok {
				return fmt.Errorf("the list of %s holds a %T", resource, object)
			}
			present.UIDs[string(found.UID)] = true
			if resource == "pods" {
				present.Applications[meter.ApplicationOf(&v1.Pod{ObjectMeta: found.ObjectMeta})] = true
			}
			return nil
		})
		if err != nil {
			return meter.Present{}, fmt.Errorf("list %s: %w", resource, err)
		}
	}
	return present, nil
}
