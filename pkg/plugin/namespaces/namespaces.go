// Package namespaces is the LimitRanges and ResourceQuotas of all namespaces, if the scheduler may list them.
package namespaces

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/limits"
	"retinue.dev/retinue/pkg/plugin/crd"
	"retinue.dev/retinue/pkg/plugin/informer"
)

// patience is how long everybody waits for a kind that cannot be listed for another reason than a right that is missing.
const patience = time.Minute

// Outside is what the namespaces use.
type Outside struct {
	Client kubernetes.Interface
	Clock  clock.WithTicker
	Logger klog.Logger
	// Changed is called when what the API server would refuse in a namespace has changed.
	Changed func(namespace string)
}

// Namespaces follows LimitRanges and ResourceQuotas. The right to list either may be withheld: then it is as if there were none.
type Namespaces struct {
	outside  Outside
	factory  informers.SharedInformerFactory
	ranges   *kind
	quotas   *kind
	promises promises

	mu sync.Mutex // guards of
	of map[string]limits.Namespace
}

// kind is one of both.
type kind struct {
	name   string // as in a rule of RBAC
	logger klog.Logger
	synced cache.InformerSynced
	// resigned means that nobody waits for it any more.
	resigned atomic.Bool
	// failing means that the last try to list it has failed.
	failing atomic.Bool
}

// New follows nothing before it Runs.
func New(outside Outside) (*Namespaces, error) {
	n := &Namespaces{
		outside: outside, factory: informers.NewSharedInformerFactoryWithOptions(outside.Client, 0, informers.WithTransform(stripped)),
		promises: newPromises(), of: map[string]limits.Namespace{},
	}
	var err error
	n.ranges, err = follow(n, "limitranges", n.factory.Core().V1().LimitRanges().Informer(),
		func(namespace *limits.Namespace) *[]*v1.LimitRange { return &namespace.Ranges },
		func(a, b *v1.LimitRange) bool { return equality.Semantic.DeepEqual(a.Spec, b.Spec) })
	if err != nil {
		return nil, err
	}
	n.quotas, err = follow(n, "resourcequotas", n.factory.Core().V1().ResourceQuotas().Informer(),
		func(namespace *limits.Namespace) *[]*v1.ResourceQuota { return &namespace.Quotas },
		func(a, b *v1.ResourceQuota) bool { return equality.Semantic.DeepEqual(a.Spec, b.Spec) })
	return n, err
}

// stripped is an object without what is of no use here.
func stripped(object any) (any, error) {
	if named, ok := object.(metav1.Object); ok {
		named.SetManagedFields(nil)
	}
	return object, nil
}

// follow keeps the objects of one kind in order. same tells whether both would be refused the same.
func follow[T metav1.Object](n *Namespaces, name string, of cache.SharedIndexInformer, list func(*limits.Namespace) *[]T, same func(a, b T) bool) (*kind, error) {
	k := &kind{name: name, logger: klog.LoggerWithValues(n.outside.Logger, "kind", name)}
	err := of.SetWatchErrorHandlerWithContext(func(ctx context.Context, reflector *cache.Reflector, err error) {
		k.fails(err)
		if !apierrors.IsForbidden(err) { // a right that is withheld is said once
			cache.DefaultWatchErrorHandler(ctx, reflector, err)
		}
	})
	if err != nil {
		return nil, err
	}
	keep := func(object T, there bool) {
		n.mu.Lock()
		defer n.mu.Unlock()
		namespace := n.of[object.GetNamespace()]
		own := list(&namespace)
		others := slices.DeleteFunc(slices.Clone(*own), func(other T) bool { return other.GetName() == object.GetName() })
		if there {
			others = append(others, object)
		}
		slices.SortFunc(others, func(a, b T) int { return cmp.Compare(a.GetName(), b.GetName()) })
		if *own = others; namespace.Empty() {
			delete(n.of, object.GetNamespace())
		} else {
			n.of[object.GetNamespace()] = namespace
		}
	}
	var none T
	handler, err := of.AddEventHandler(informer.Handlers(func(before, object T) {
		keep(object, true)
		n.promises.stir(object.GetNamespace())
		if any(before) == any(none) || !same(before, object) {
			n.outside.Changed(object.GetNamespace())
		}
	}, func(object T) {
		keep(object, false)
		n.promises.stir(object.GetNamespace())
		n.outside.Changed(object.GetNamespace())
	}))
	if err != nil {
		return nil, err
	}
	k.synced = handler.HasSynced
	return k, nil
}

// fails notes that a kind could not be listed or watched. Where the right is missing nobody waits for it: it is withheld.
func (k *kind) fails(err error) {
	if k.synced != nil && k.synced() {
		return // the watch goes on
	}
	if !k.failing.Swap(true) {
		k.logger.Error(err, "What the API server will refuse because of these objects is not told: they cannot be listed")
	}
	if apierrors.IsForbidden(err) {
		k.resign()
	}
}

// resign lets everybody go on without a kind.
func (k *kind) resign() {
	if !k.known() {
		k.resigned.Store(true)
		crd.Unlisted(k.name, true)
	}
}

func (k *kind) known() bool { return k.resigned.Load() || k.synced() }

// Known tells whether all that existed at the start is known, or nobody waits for it any more.
func (n *Namespaces) Known() bool { return n.ranges.known() && n.quotas.known() }

// Run follows until the context ends. Nothing is read before after is synced: a replica that waits for the lease reads nothing.
func (n *Namespaces) Run(ctx context.Context, after ...cache.InformerSynced) {
	if !informer.Wait(ctx, after...) {
		return
	}
	n.factory.Start(ctx.Done())
	defer n.factory.Shutdown()
	patience := n.outside.Clock.After(patience)
	for _, k := range []*kind{n.ranges, n.quotas} {
		go func() {
			if informer.Wait(ctx, k.synced) {
				crd.Unlisted(k.name, false)
				k.logger.V(2).Info("All objects of the kind are known")
			}
		}()
	}
	select {
	case <-ctx.Done():
		return
	case <-patience:
		n.ranges.resign()
		n.quotas.resign()
	}
	<-ctx.Done()
}

// Of is what a namespace has. Nothing of it may be changed.
func (n *Namespaces) Of(namespace string) limits.Namespace {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.of[namespace]
}
