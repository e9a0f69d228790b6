package plugin

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"retinue.dev/retinue/pkg/plugin/informer"
)

// byDriver is the index of Services by the UIDs of pods that own them.
const byDriver = "retinue.dev/driver"

// follow lets the definer know of the Services that drivers own. PodTopologySpread watches Services anyhow, for its
// default constraints.
func (d *definer) follow(factory informers.SharedInformerFactory) error {
	services := factory.Core().V1().Services().Informer()
	if err := services.AddIndexers(cache.Indexers{byDriver: func(object any) ([]string, error) {
		var drivers []string
		if service, ok := object.(*v1.Service); ok {
			for _, uid := range driversOf(service) {
				drivers = append(drivers, string(uid))
			}
		}
		return drivers, nil
	}}); err != nil {
		return err
	}
	index := services.GetIndexer()
	d.serves = func(driver types.UID) bool {
		found, err := index.IndexKeys(byDriver, string(driver))
		return err == nil && len(found) > 0
	}
	_, err := services.AddEventHandler(informer.Handlers(func(before, service *v1.Service) {
		if before == nil || before.UID != service.UID {
			for _, uid := range driversOf(service) {
				d.served(uid)
			}
		}
	}, func(*v1.Service) {}))
	return err
}

// driversOf are the pods that own a Service, as the driver of an application does its own.
func driversOf(service *v1.Service) []types.UID {
	var drivers []types.UID
	for _, owner := range service.OwnerReferences {
		if owner.Kind == "Pod" {
			drivers = append(drivers, owner.UID)
		}
	}
	return drivers
}
