package sim

import (
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/informers/core"
	corev1 "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/informers/policy"
	policyv1 "k8s.io/client-go/informers/policy/v1"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// factory hands out the informers of a replica. Pods and nodes are there, and PodDisruptionBudgets and Services, of which
// there are none; everything else panics.
type factory struct {
	informers.SharedInformerFactory
	replica *replica
}

// Core is the only group that is simulated.
func (f factory) Core() core.Interface { return coreInformers{replica: f.replica} }

// Policy is a group in which nothing exists.
func (f factory) Policy() policy.Interface { return policyInformers{} }

type policyInformers struct{ policy.Interface }

func (policyInformers) V1() policyv1.Interface { return policyV1Informers{} }

type policyV1Informers struct{ policyv1.Interface }

func (policyV1Informers) PodDisruptionBudgets() policyv1.TypedPodDisruptionBudgetInformer {
	return policyv1.ToTypedPodDisruptionBudgetInformer(budgetInformer{})
}

type budgetInformer struct {
	policyv1.PodDisruptionBudgetInformer
}

func (budgetInformer) Informer() cache.SharedIndexInformer { return nothing{} }

// nothing is an informer that has read everything: there is nothing.
type nothing struct{ cache.SharedIndexInformer }

func (n nothing) AddEventHandler(cache.ResourceEventHandler) (cache.ResourceEventHandlerRegistration, error) {
	return n, nil
}

func (nothing) HasSynced() bool { return true }

func (nothing) AddIndexers(cache.Indexers) error { return nil }

func (nothing) GetIndexer() cache.Indexer {
	return cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
}

type coreInformers struct {
	core.Interface
	replica *replica
}

func (c coreInformers) V1() corev1.Interface { return coreV1Informers{replica: c.replica} }

type coreV1Informers struct {
	corev1.Interface
	replica *replica
}

func (c coreV1Informers) Pods() corev1.TypedPodInformer {
	return corev1.ToTypedPodInformer(podInformer{c.replica})
}

func (c coreV1Informers) Nodes() corev1.TypedNodeInformer {
	return corev1.ToTypedNodeInformer(nodeInformer{c.replica})
}

// Namespaces are those that pods are in; none has labels.
func (c coreV1Informers) Namespaces() corev1.TypedNamespaceInformer {
	return corev1.ToTypedNamespaceInformer(namespaceInformer{})
}

type namespaceInformer struct{ corev1.NamespaceInformer }

func (namespaceInformer) Lister() listers.NamespaceLister { return namespaceLister{} }

type namespaceLister struct{ listers.NamespaceLister }

func (namespaceLister) Get(name string) (*v1.Namespace, error) {
	return &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, nil
}

// List selects none: nobody asks for namespaces by their labels.
func (namespaceLister) List(labels.Selector) ([]*v1.Namespace, error) { return nil, nil }

// Services are not simulated: no driver has one, so the plugin guesses when its ConfigMap is there.
func (c coreV1Informers) Services() corev1.TypedServiceInformer {
	return corev1.ToTypedServiceInformer(serviceInformer{})
}

type serviceInformer struct{ corev1.ServiceInformer }

func (serviceInformer) Informer() cache.SharedIndexInformer { return nothing{} }

type podInformer struct{ replica *replica }

func (i podInformer) Informer() cache.SharedIndexInformer { return i.replica.pods }
func (i podInformer) Lister() listers.PodLister           { return podLister{replica: i.replica} }

type nodeInformer struct{ replica *replica }

func (i nodeInformer) Informer() cache.SharedIndexInformer { return i.replica.nodes }
func (i nodeInformer) Lister() listers.NodeLister          { return nodeLister{replica: i.replica} }

// podLister reads the store of the pod informer.
type podLister struct {
	replica   *replica
	namespace string // empty means all
}

func (l podLister) Pods(namespace string) listers.PodNamespaceLister {
	return podLister{replica: l.replica, namespace: namespace}
}

func (l podLister) List(labels.Selector) ([]*v1.Pod, error) {
	panic("sim: listing pods is not simulated")
}

func (l podLister) Get(name string) (*v1.Pod, error) {
	return find[*v1.Pod](l.replica.pods, "pods", l.namespace+"/"+name)
}

// nodeLister reads the store of the node informer.
type nodeLister struct {
	listers.NodeLister
	replica *replica
}

func (l nodeLister) Get(name string) (*v1.Node, error) {
	return find[*v1.Node](l.replica.nodes, "nodes", name)
}

// find reads a store: at once from within the simulation, in its turn from a goroutine of the plugin.
func find[T object](i *informer, resource, key string) (T, error) {
	var found T
	read := func() error {
		o, there := i.store.get(key)
		if !there {
			return notFound(resource, key)
		}
		found = o.(T)
		return nil
	}
	w := i.replica.world
	if goroutine() == w.main {
		return found, read()
	}
	err := w.desk.ask(&call{replica: i.replica, kind: callLocal, key: "find " + key, serve: read})
	return found, err
}
