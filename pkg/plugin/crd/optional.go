// Package crd is objects of kinds that a CustomResourceDefinition defines, which a cluster may lack.
package crd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
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
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/plugin/informer"
	"retinue.dev/retinue/pkg/resource"
)

// searchPeriod is how often a cluster without some kind is asked whether it has it now: a CustomResourceDefinition may be
// installed at any time, or never.
const searchPeriod = 30 * time.Second

// patience is how long everybody waits for a kind that cannot be listed, since everything else is known. Then the cluster is
// scheduled without it: a webhook that converts one kind, or a right that is missing, must not stop all of it for ever.
const patience = time.Minute

// Outside is what all optional resources share.
type Outside struct {
	Dynamic   dynamic.Interface
	Discovery discovery.DiscoveryInterface
	Recorder  events.EventRecorder
	Clock     clock.WithTicker
	Logger    klog.Logger
	// After are to be synced before anything is read: a replica that waits for the lease reads nothing.
	After []cache.InformerSynced
}

// Connect fills in the clients.
func (o Outside) Connect(config *rest.Config) (Outside, error) {
	var err error
	if o.Dynamic, err = dynamic.NewForConfig(config); err != nil {
		return o, err
	}
	o.Discovery, err = discovery.NewDiscoveryClientForConfig(config)
	return o, err
}

// OptionalResource follows the objects of one kind that a CustomResourceDefinition defines, if the cluster has it.
type OptionalResource struct {
	outside  Outside
	resource schema.GroupVersionResource
	logger   klog.Logger
	// known is set when the followers know all that existed at the start, or that the cluster has none, or after patience.
	known atomic.Bool
	// problem is why it is not known what there is; nil when it is.
	problem atomic.Pointer[string]
	// lister reads what is known; nil while the cluster does not have the kind.
	lister atomic.Pointer[cache.GenericLister]
}

// Optional is a resource that the cluster may lack.
func (o Outside) Optional(resource schema.GroupVersionResource) *OptionalResource {
	logger := klog.LoggerWithValues(o.Logger, "kind", resource.GroupResource().String())
	return &OptionalResource{outside: o, resource: resource, logger: logger}
}

// Known tells whether the followers know all that existed at the start, or nobody waits for that any more.
func (r *OptionalResource) Known() bool { return r.known.Load() }

// Served tells whether the cluster has the kind, as far as it was looked.
func (r *OptionalResource) Served() bool { return r.lister.Load() != nil }

// Follow calls seen with every object that is there, comes or changes, together with what it was before or nil, and gone
// with the last known state of those that are deleted, until the context ends.
func (r *OptionalResource) Follow(ctx context.Context, seen func(before, object *unstructured.Unstructured), gone func(*unstructured.Unstructured)) {
	if !informer.Wait(ctx, r.outside.After...) {
		return
	}
	go r.stopWaiting(ctx)
	exist := false
	_ = wait.PollUntilContextCancel(ctx, searchPeriod, true, func(context.Context) (bool, error) {
		var err error
		if exist, err = r.exist(); err != nil {
			r.fails(err)
			return false, nil
		}
		if !exist {
			r.succeeds()
		}
		return exist, nil
	})
	if !exist {
		return
	}
	factory := dynamicinformer.NewDynamicSharedInformerFactory(r.outside.Dynamic, 0)
	followed := factory.ForResource(r.resource)
	err := followed.Informer().SetWatchErrorHandlerWithContext(func(ctx context.Context, reflector *cache.Reflector, err error) {
		if !r.Known() || r.problem.Load() != nil {
			r.fails(err)
		}
		cache.DefaultWatchErrorHandler(ctx, reflector, err)
	})
	var handler cache.ResourceEventHandlerRegistration
	if err == nil {
		handler, err = followed.Informer().AddEventHandler(informer.Handlers(seen, gone))
	}
	if err != nil {
		r.logger.Error(err, "Objects cannot be followed")
		return
	}
	lister := followed.Lister()
	r.lister.Store(&lister)
	factory.Start(ctx.Done())
	if informer.Wait(ctx, handler.HasSynced) {
		r.succeeds()
		r.logger.V(2).Info("All objects of the kind are known")
	}
	<-ctx.Done()
	factory.Shutdown()
}

// fails notes that it is not known what there is.
func (r *OptionalResource) fails(err error) {
	problem := err.Error()
	if former := r.problem.Swap(&problem); former == nil || *former != problem {
		r.logger.Error(err, "It is not known which objects of this kind there are")
	}
}

// succeeds notes that it is known what there is.
func (r *OptionalResource) succeeds() {
	r.known.Store(true)
	if r.problem.Swap(nil) != nil {
		r.logger.Info("It is known again which objects of this kind there are")
	}
	unknown.WithLabelValues(r.resource.GroupResource().String()).Set(0)
}

// stopWaiting lets the cluster be scheduled without the kind after a while, and says so: in the log, as a metric, and as an
// event of the CustomResourceDefinition.
func (r *OptionalResource) stopWaiting(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-r.outside.Clock.After(patience):
	}
	if r.Known() {
		return
	}
	problem := "the API server has not answered"
	if said := r.problem.Load(); said != nil {
		problem = *said
	} else {
		r.problem.Store(&problem)
	}
	name := r.resource.GroupResource().String()
	unknown.WithLabelValues(name).Set(1)
	r.logger.Error(nil, "The cluster is scheduled as if it had no objects of this kind", "waited", patience, "problem", problem)
	definition := &v1.ObjectReference{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition", Name: name}
	r.outside.Recorder.Eventf(definition, nil, v1.EventTypeWarning, "NotListed", "Listing",
		"Pods are scheduled as if there were no %s, because they cannot be listed: %s", name, problem)
	r.known.Store(true)
}

// exist tells whether the API server serves the kind.
func (r *OptionalResource) exist() (bool, error) {
	list, err := r.outside.Discovery.ServerResourcesForGroupVersion(r.resource.GroupVersion().String())
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list.APIResources, func(served metav1.APIResource) bool { return served.Name == r.resource.Resource }), nil
}

// All are the objects that are known, by namespace and name.
func (r *OptionalResource) All() []*unstructured.Unstructured {
	lister := r.lister.Load()
	if lister == nil {
		return nil
	}
	listed, err := (*lister).List(labels.Everything())
	if err != nil {
		r.logger.Error(err, "Objects cannot be listed")
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

// Object is one of them; nil means that it is not known.
func (r *OptionalResource) Object(name types.NamespacedName) (*unstructured.Unstructured, error) {
	lister := r.lister.Load()
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

// Write makes a status, a pointer to a struct, the object's own, unless it is already, and tells whether the API server was called.
func (r *OptionalResource) Write(ctx context.Context, object *unstructured.Unstructured, status any) (bool, error) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(status)
	if err != nil {
		return false, fmt.Errorf("%s %s: status: %w", r.resource.Resource, klog.KObj(object), err)
	}
	// A time that is not there is written as null, and the API server keeps none.
	maps.DeleteFunc(fields, func(_ string, value any) bool { return value == nil })
	wanted, err := json.Marshal(fields)
	if err != nil {
		return false, fmt.Errorf("%s %s: status: %w", r.resource.Resource, klog.KObj(object), err)
	}
	present := []byte("{}")
	if written, found := object.Object["status"]; found {
		if present, err = json.Marshal(written); err != nil {
			return false, fmt.Errorf("%s %s: status: %w", r.resource.Resource, klog.KObj(object), err)
		}
	}
	// Names of resources that are not there any more have to be taken out one by one.
	change, err := jsonmergepatch.CreateThreeWayJSONMergePatch(present, wanted, present)
	if err != nil {
		return false, fmt.Errorf("%s %s: status: %w", r.resource.Resource, klog.KObj(object), err)
	}
	if string(change) == "{}" {
		return false, nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": object.GetUID()}, "status": json.RawMessage(change)})
	if err != nil {
		return false, err
	}
	var client dynamic.ResourceInterface = r.outside.Dynamic.Resource(r.resource)
	if namespace := object.GetNamespace(); namespace != "" {
		client = r.outside.Dynamic.Resource(r.resource).Namespace(namespace)
	}
	_, err = client.Patch(ctx, object.GetName(), types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return true, nil // it has gone, or another has its name
	}
	return true, err
}

// Decode reads an object into its type. It may come from anybody who may create one: the API server keeps quantities of objects
// that a CustomResourceDefinition defines as they are written. An error is one short line.
func Decode[T any](object *unstructured.Unstructured) (*T, error) {
	if err := resource.Check[T](object.Object); err != nil {
		return nil, shortened(err)
	}
	typed := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, typed); err != nil {
		return nil, shortened(err)
	}
	return typed, nil
}

// maxErrorBytes bounds what is repeated of an error about an object that somebody wrote.
const maxErrorBytes = 256

// shortened keeps an error to one short line.
func shortened(err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > maxErrorBytes {
		text = strings.ToValidUTF8(text[:maxErrorBytes], "") + "…"
	}
	return errors.New(text)
}
