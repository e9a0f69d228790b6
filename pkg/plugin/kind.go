package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// searchPeriod is how often a cluster without some kind is asked whether it has it now: a CustomResourceDefinition may be
// installed at any time, or never.
const searchPeriod = 30 * time.Second

// kind follows the objects of one kind that a CustomResourceDefinition defines, if the cluster has it.
type kind struct {
	resource  schema.GroupVersionResource
	client    dynamic.Interface
	discovery discovery.DiscoveryInterface
	logger    klog.Logger
	// after are to be synced before anything is read: a replica that waits for the lease reads nothing.
	after []cache.InformerSynced
	// told is set when the followers know all that existed at the start, or that the cluster has none.
	told atomic.Bool
	// lister reads what is known; nil while the cluster does not have the kind.
	lister atomic.Pointer[cache.GenericLister]
}

// kinds makes kinds with what they share.
func kinds(p *Plugin, config *rest.Config, after []cache.InformerSynced) (func(schema.GroupVersionResource) *kind, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	found, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	return func(resource schema.GroupVersionResource) *kind {
		logger := klog.LoggerWithValues(p.logger, "kind", resource.GroupResource().String())
		return &kind{resource: resource, client: client, discovery: found, logger: logger, after: after}
	}, nil
}

// follow calls seen with every object that is there, comes or changes, together with what it was before or nil, and gone
// with the last known state of those that are deleted, until the context ends.
func (k *kind) follow(ctx context.Context, seen func(before, object *unstructured.Unstructured), gone func(*unstructured.Unstructured)) {
	if !cache.WaitForCacheSync(ctx.Done(), k.after...) {
		return
	}
	exist := false
	_ = wait.PollUntilContextCancel(ctx, searchPeriod, true, func(context.Context) (bool, error) {
		var err error
		if exist, err = k.exist(); err != nil {
			k.logger.Error(err, "It is not known whether the cluster has this kind")
			return false, nil
		}
		if !exist {
			k.told.Store(true)
		}
		return exist, nil
	})
	if !exist {
		return
	}
	factory := dynamicinformer.NewDynamicSharedInformerFactory(k.client, 0)
	informer := factory.ForResource(k.resource)
	handler, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) { seen(nil, object.(*unstructured.Unstructured)) },
		UpdateFunc: func(before, object any) {
			seen(before.(*unstructured.Unstructured), object.(*unstructured.Unstructured))
		},
		DeleteFunc: func(object any) {
			if deleted, ok := last[*unstructured.Unstructured](object); ok {
				gone(deleted)
			}
		},
	})
	if err != nil {
		k.logger.Error(err, "Objects cannot be followed")
		return
	}
	lister := informer.Lister()
	k.lister.Store(&lister)
	factory.Start(ctx.Done())
	if cache.WaitForCacheSync(ctx.Done(), handler.HasSynced) {
		k.told.Store(true)
		k.logger.V(2).Info("All objects of the kind are known")
	}
	<-ctx.Done()
	factory.Shutdown()
}

// exist tells whether the API server serves the kind.
func (k *kind) exist() (bool, error) {
	list, err := k.discovery.ServerResourcesForGroupVersion(k.resource.GroupVersion().String())
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list.APIResources, func(served metav1.APIResource) bool { return served.Name == k.resource.Resource }), nil
}

// all are the objects that are known, by namespace and name.
func (k *kind) all() []*unstructured.Unstructured {
	lister := k.lister.Load()
	if lister == nil {
		return nil
	}
	listed, err := (*lister).List(labels.Everything())
	if err != nil {
		k.logger.Error(err, "Objects cannot be listed")
	}
	objects := make([]*unstructured.Unstructured, 0, len(listed))
	for _, object := range listed {
		if object, ok := object.(*unstructured.Unstructured); ok {
			objects = append(objects, object)
		}
	}
	slices.SortFunc(objects, func(a, b *unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return objects
}

// object is one of them; nil means that it is not known.
func (k *kind) object(name types.NamespacedName) (*unstructured.Unstructured, error) {
	lister := k.lister.Load()
	if lister == nil {
		return nil, nil
	}
	object, err := (*lister).ByNamespace(name.Namespace).Get(name.Name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return object.(*unstructured.Unstructured), nil
}

// write makes a status, a pointer to a struct, the object's own, unless it is already, and tells whether the API server was called.
func (k *kind) write(ctx context.Context, object *unstructured.Unstructured, status any) (bool, error) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(status)
	if err != nil {
		return false, fmt.Errorf("%s %s: status: %w", k.resource.Resource, klog.KObj(object), err)
	}
	// A time that is not there is written as null, and the API server keeps none.
	maps.DeleteFunc(fields, func(_ string, value any) bool { return value == nil })
	wanted, err := json.Marshal(fields)
	if err != nil {
		return false, fmt.Errorf("%s %s: status: %w", k.resource.Resource, klog.KObj(object), err)
	}
	present := []byte("{}")
	if written, found := object.Object["status"]; found {
		if present, err = json.Marshal(written); err != nil {
			return false, fmt.Errorf("%s %s: status: %w", k.resource.Resource, klog.KObj(object), err)
		}
	}
	// Names of resources that are not there any more have to be taken out one by one.
	change, err := jsonmergepatch.CreateThreeWayJSONMergePatch(present, wanted, present)
	if err != nil {
		return false, fmt.Errorf("%s %s: status: %w", k.resource.Resource, klog.KObj(object), err)
	}
	if string(change) == "{}" {
		return false, nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": object.GetUID()}, "status": json.RawMessage(change)})
	if err != nil {
		return false, err
	}
	var client dynamic.ResourceInterface = k.client.Resource(k.resource)
	if namespace := object.GetNamespace(); namespace != "" {
		client = k.client.Resource(k.resource).Namespace(namespace)
	}
	_, err = client.Patch(ctx, object.GetName(), types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return true, nil // it has gone, or another has its name
	}
	return true, err
}

// decodeObject reads an object into its type.
func decodeObject[T any](object *unstructured.Unstructured) (*T, error) {
	typed := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, typed); err != nil {
		return nil, err
	}
	return typed, nil
}
