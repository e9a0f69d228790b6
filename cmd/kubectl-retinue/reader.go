package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	schedulingv1alpha1 "sigs.k8s.io/scheduler-plugins/apis/scheduling/v1alpha1"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/pkg/view"
)

const (
	// maxDefinitions is how many drivers that wait are asked for their ConfigMaps in one listing.
	maxDefinitions = 100
	// parallel is how many of those requests are made at a time.
	parallel = 8
	// requests a second, and at once, that one command makes at most.
	requestsPerSecond, requestsAtOnce = 50, 100
)

var (
	queuesResource    = v1alpha1.SchemeGroupVersion.WithResource("queues")
	podGroupsResource = schedulingv1alpha1.SchemeGroupVersion.WithResource("podgroups")
)

// reader reads a cluster with the rights that its user has, and remembers what those do not show.
type reader struct {
	client    kubernetes.Interface
	dynamic   dynamic.Interface
	namespace string
	// everyNamespace is set when all namespaces could be read.
	everyNamespace bool
	// unseen is what could not be read, in sentences, each once.
	unseen []string
	// following keeps up what has been read, for a command that goes on; nil for every other.
	following *following
	mu        sync.Mutex // guards everything below
	// defined are the definitions of drivers that wait, for a command that goes on: what Spark writes does not change. UID -> definition
	defined map[types.UID]view.Definition
}

// follow lets everything that is read from now on be kept up by watches.
func (r *reader) follow(ctx context.Context) {
	r.following, r.defined = newFollowing(ctx), map[types.UID]view.Definition{}
}

// objects are all of a kind, as the API server has them in memory, or as a watch has kept them up.
func (r *reader) objects(ctx context.Context, what, fields string, list cache.ListWithContextFunc, watch cache.WatchFuncWithContext) ([]runtime.Object, error) {
	options := cached
	options.FieldSelector = fields
	if r.following != nil {
		return r.following.objects(ctx, what, &cache.ListWatch{ListWithContextFunc: list, WatchFuncWithContext: watch}, options)
	}
	listed, err := list(ctx, options)
	if err != nil {
		return nil, err
	}
	return meta.ExtractList(listed)
}

// connect is what flags and kubeconfig say about the cluster; nothing is asked there yet.
func connect(flags *genericclioptions.ConfigFlags) (*reader, error) {
	config, err := flags.ToRESTConfig()
	if err != nil {
		return nil, inputError{err}
	}
	config.QPS, config.Burst = requestsPerSecond, requestsAtOnce
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, inputError{err}
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, inputError{err}
	}
	namespace, _, err := flags.ToRawKubeConfigLoader().Namespace()
	if err == nil && len(validation.IsDNS1123Label(namespace)) > 0 {
		err = fmt.Errorf("--namespace=%q: not the name of a namespace", namespace)
	}
	if err != nil {
		return nil, inputError{err}
	}
	return &reader{client: client, dynamic: objects, namespace: namespace}, nil
}

// miss remembers what could not be seen.
func (r *reader) miss(format string, args ...any) {
	if sentence := fmt.Sprintf(format, args...); !slices.Contains(r.unseen, sentence) {
		r.unseen = append(r.unseen, sentence)
	}
}

// unlessForbidden remembers what its user may not see, or the cluster does not have, and returns every other error. consequence is what
// is not shown without it.
func (r *reader) unlessForbidden(err error, what, consequence string) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err):
		r.miss("you may not read %s: %s", what, consequence)
	case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
		r.miss("the cluster has no %s: %s", what, consequence)
	default:
		return fmt.Errorf("reading %s: %w", what, err)
	}
	return nil
}

// cached lets the API server answer from memory.
var cached = metav1.ListOptions{ResourceVersion: "0"}

// list reads all objects of a kind that a cluster need not have.
func list[T any](ctx context.Context, r *reader, what string, from dynamic.ResourceInterface) ([]*T, error) {
	listed, err := r.objects(ctx, what, "", func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return from.List(ctx, options)
	}, from.Watch)
	if err != nil {
		return nil, err
	}
	objects := make([]*T, 0, len(listed))
	for _, untyped := range listed {
		object, is := untyped.(*unstructured.Unstructured)
		if typed, err := decode[T](object); is && err == nil { // one that cannot be read counts as if it were not there
			objects = append(objects, typed)
		}
	}
	return objects, nil
}

func decode[T any](object *unstructured.Unstructured) (*T, error) {
	if err := resource.Check[T](object.Object); err != nil {
		return nil, err
	}
	typed := new(T)
	return typed, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, typed)
}

// queues are all Queues.
func (r *reader) queues(ctx context.Context) ([]*v1alpha1.Queue, error) {
	queues, err := list[v1alpha1.Queue](ctx, r, "Queues", r.dynamic.Resource(queuesResource))
	return queues, r.unlessForbidden(err, "Queues", "no shares, limits and positions are known")
}

// namespaces are the labels of all namespaces, or of those asked for where not all may be read: name -> labels.
func (r *reader) namespaces(ctx context.Context, wanted ...string) (map[string]map[string]string, error) {
	labels := map[string]map[string]string{}
	from := r.client.CoreV1().Namespaces()
	listed, err := r.objects(ctx, "namespaces", "", func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return from.List(ctx, options)
	}, from.Watch)
	if err == nil {
		for _, object := range listed {
			if namespace, is := object.(*v1.Namespace); is {
				labels[namespace.Name] = namespace.Labels
			}
		}
		r.everyNamespace = true
		return labels, nil
	}
	if !apierrors.IsForbidden(err) {
		return nil, fmt.Errorf("reading namespaces: %w", err)
	}
	for _, name := range wanted {
		namespace, err := r.client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			labels[name] = namespace.Labels
			continue
		}
		if err := r.unlessForbidden(err, "namespace "+name, "a Queue that selects it by its labels is not recognised"); err != nil {
			return nil, err
		}
		labels[name] = nil
	}
	return labels, nil
}

// of says of which namespace objects are.
func of(what, namespace string) string {
	if namespace == metav1.NamespaceAll {
		return what + " of all namespaces"
	}
	return what + " of namespace " + namespace
}

// pods are those of a namespace, or of all: "".
func (r *reader) pods(ctx context.Context, namespace, fields string) ([]*v1.Pod, error) {
	from := r.client.CoreV1().Pods(namespace)
	listed, err := r.objects(ctx, of("pods", namespace), fields, func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return from.List(ctx, options)
	}, from.Watch)
	if err != nil {
		return nil, err
	}
	pods := make([]*v1.Pod, 0, len(listed))
	for _, object := range listed {
		if pod, is := object.(*v1.Pod); is {
			pods = append(pods, pod)
		}
	}
	return pods, nil
}

// nodes are all nodes; nil where they may not be read.
func (r *reader) nodes(ctx context.Context) ([]*v1.Node, error) {
	listed, err := r.client.CoreV1().Nodes().List(ctx, cached)
	if err != nil {
		if apierrors.IsForbidden(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("reading nodes: %w", err)
	}
	nodes := make([]*v1.Node, len(listed.Items))
	for i := range listed.Items {
		nodes[i] = &listed.Items[i]
	}
	return nodes, nil
}

// groups are how many pods of each PodGroup start together: namespace/name -> pods. A cluster without PodGroups has none.
func (r *reader) groups(ctx context.Context, namespace string) (map[string]int, error) {
	listed, err := list[schedulingv1alpha1.PodGroup](ctx, r, of("PodGroups", namespace), r.dynamic.Resource(podGroupsResource).Namespace(namespace))
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return nil, nil
	}
	if err := r.unlessForbidden(err, "PodGroups", "how many of their pods start together is not known"); err != nil {
		return nil, err
	}
	groups := map[string]int{}
	for _, group := range listed {
		groups[group.Namespace+"/"+group.Name] = int(group.Spec.MinMember)
	}
	return groups, nil
}

// definitions are what drivers that wait will ask for, as far as what they mount may be read: namespace/name -> definition.
func (r *reader) definitions(ctx context.Context, pods []*v1.Pod) (map[string]view.Definition, error) {
	var drivers []*v1.Pod
	for _, pod := range pods {
		if spark.Leads(pod) && pod.Spec.NodeName == "" {
			drivers = append(drivers, pod)
		}
	}
	if more := len(drivers) - maxDefinitions; more > 0 {
		r.miss("of %d applications that wait, what %d ask for is not shown; app NAME shows each", len(drivers), more)
		drivers = drivers[:maxDefinitions]
	}
	found := make([]view.Definition, len(drivers))
	forbidden := make([]error, len(drivers))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, driver := range drivers {
		group.Go(func() error {
			found[i], forbidden[i] = r.definition(ctx, driver)
			if apierrors.IsForbidden(forbidden[i]) {
				return nil
			}
			return forbidden[i]
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	definitions := make(map[string]view.Definition, len(drivers))
	for i, driver := range drivers {
		if forbidden[i] != nil {
			r.miss("you may not read the ConfigMaps of namespace %s: what applications that wait ask for is not known", driver.Namespace)
			continue
		}
		definitions[driver.Namespace+"/"+driver.Name] = found[i]
	}
	return definitions, nil
}

// definition is what a driver will ask for. That there is something wrong with it, or missing, is part of the answer.
func (r *reader) definition(ctx context.Context, driver *v1.Pod) (view.Definition, error) {
	r.mu.Lock()
	known, is := r.defined[driver.UID]
	r.mu.Unlock()
	if is {
		return known, nil
	}
	app, err := applicationOf(ctx, r.client, driver)
	if input := (inputError{}); errors.As(err, &input) || apierrors.IsNotFound(err) || errors.Is(err, spark.ErrOwner) {
		return view.Definition{Err: err}, nil
	}
	if err != nil {
		return view.Definition{}, err
	}
	definition, err := app.define()
	found := view.Definition{Definition: definition, Err: err}
	if r.following != nil && err == nil {
		r.mu.Lock()
		r.defined[driver.UID] = found
		r.mu.Unlock()
	}
	return found, nil
}

// events are those about the objects of a name.
func (r *reader) events(ctx context.Context, namespace, name string) ([]v1.Event, error) {
	listed, err := r.client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name})
	if err != nil {
		return nil, r.unlessForbidden(err, "events", "the timeline is made of the pods alone")
	}
	return listed.Items, nil
}

// now is what time it is for everything that one reading shows.
var now = func() time.Time { return time.Now() }
