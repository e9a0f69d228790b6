package autoscaler

import (
	"context"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/scaleup"
)

// findPeriod is how often is looked for an autoscaler that looks at pending pods.
const findPeriod = 30 * time.Second

// What shows that there is one: the kind that Karpenter buys from, and the object in which Cluster Autoscaler says how it is.
const (
	karpenterVersion    = "karpenter.sh/v1"
	karpenterResource   = "nodepools"
	statusNamespace     = metav1.NamespaceSystem
	statusConfiguration = "cluster-autoscaler-status"
)

// finder looks for an autoscaler that looks at pending pods.
type finder struct {
	discovery discovery.DiscoveryInterface
	client    kubernetes.Interface
	clock     clock.PassiveClock

	looked time.Time // zero: not yet
	mode   v1alpha1.ScaleUpMode
	why    string
	// buffers tells whether the cluster has CapacityBuffers: at the same look, because an autoscaler's kinds come together.
	buffers bool
}

// find is Placeholders or Off, and why. What cannot be read leaves it as it was.
func (f *finder) find(ctx context.Context) (v1alpha1.ScaleUpMode, string) {
	if now := f.clock.Now(); f.looked.IsZero() || now.Sub(f.looked) >= findPeriod {
		f.looked = now
		mode, why, err := f.look(ctx)
		if err == nil || f.mode == "" {
			f.mode, f.why = mode, why
		}
	}
	return f.mode, f.why
}

func (f *finder) look(ctx context.Context) (v1alpha1.ScaleUpMode, string, error) {
	found, err := f.serves(karpenterVersion, karpenterResource)
	buffers, failed := f.serves(Resource.GroupVersion().String(), Resource.Resource)
	if failed == nil {
		f.buffers = buffers
	}
	if found {
		return v1alpha1.ScaleUpPlaceholders, "the cluster has " + karpenterResource + " of " + karpenterVersion, nil
	}
	_, missing := f.client.CoreV1().ConfigMaps(statusNamespace).Get(ctx, statusConfiguration, metav1.GetOptions{})
	if missing == nil {
		return v1alpha1.ScaleUpPlaceholders, "the cluster has ConfigMap " + statusNamespace + "/" + statusConfiguration, nil
	}
	if !apierrors.IsNotFound(missing) {
		err = missing
	}
	if err != nil {
		return v1alpha1.ScaleUpOff, scaleup.Unseen + ": " + err.Error(), err
	}
	return v1alpha1.ScaleUpOff, "no autoscaler has been found", nil
}

// serves tells whether the API server has a kind.
func (f *finder) serves(version, resource string) (bool, error) {
	kinds, err := f.discovery.ServerResourcesForGroupVersion(version)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil && slices.ContainsFunc(kinds.APIResources, func(kind metav1.APIResource) bool { return kind.Name == resource }), err
}
