package plugin

import (
	"slices"

	v1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/klog/v2"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/plugin/informer"
	"retinue.dev/retinue/pkg/resource"
)

// maxDeviceClasses is how many extended resources are left to dynamic resource allocation at most, the first by name: each is an
// entry in what a node offers.
const maxDeviceClasses = 256

// counted is which resources the ledger counts: those that kube-scheduler does. What the profile tells NodeResourcesFit to
// ignore, or an extender counts, is theirs: no node would ever have enough of it.
type counted struct {
	profile string
	// ignores is Process.Ignores; nil means that everything counts.
	ignores func(schedulerName string, resource v1.ResourceName) bool
}

// requests is what a pod asks of a node, as far as it counts.
func (c counted) requests(pod *v1.Pod) resource.Vector { return c.of(requestsOf(pod)) }

// of is what counts of an amount.
func (c counted) of(amount resource.Vector) resource.Vector {
	if c.ignores == nil || len(amount.Extended) == 0 {
		return amount
	}
	return amount.Without(func(name v1.ResourceName) bool { return c.ignores(c.profile, name) })
}

// follow leaves extended resources that dynamic resource allocation provides to the plugin DynamicResources, on nodes
// that list none of them: a node that does has a device plugin, and NodeResourcesFit counts there. One that lists zero had one.
func (c counted) follow(factory informers.SharedInformerFactory, logger klog.Logger, apply func(ledger.Event)) (cache.InformerSynced, error) {
	provided := map[string][]v1.ResourceName{} // name of a DeviceClass -> resources it provides; of the informer's goroutine
	tell := func() {
		var names []v1.ResourceName
		for _, of := range provided {
			names = append(names, of...)
		}
		slices.Sort(names)
		names = slices.Compact(names)
		if len(names) > maxDeviceClasses {
			logger.Info("Extended resources of more DeviceClasses than can be followed: pods that ask for the last of them wait", "most", maxDeviceClasses, "first", names[maxDeviceClasses])
			names = names[:maxDeviceClasses]
		}
		apply(ledger.Uncounted{Resources: names})
	}
	registration, err := factory.Resource().V1().DeviceClasses().Informer().AddEventHandler(informer.Handlers(
		func(_, class *resourcev1.DeviceClass) {
			of := []v1.ResourceName{v1.ResourceName(resourcev1.ResourceDeviceClassPrefix + class.Name)}
			if class.Spec.ExtendedResourceName != nil {
				of = append(of, v1.ResourceName(*class.Spec.ExtendedResourceName))
			}
			if !slices.Equal(provided[class.Name], of) {
				provided[class.Name] = of
				tell()
			}
		},
		func(class *resourcev1.DeviceClass) {
			delete(provided, class.Name)
			tell()
		},
	))
	if err != nil {
		return nil, err
	}
	return registration.HasSynced, nil
}
