package witness

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
)

func isPod(object Object) bool {
	_, ok := object.(*corev1.Pod)
	return ok
}

func isConfigMap(object Object) bool {
	_, ok := object.(*corev1.ConfigMap)
	return ok
}

func isService(object Object) bool {
	_, ok := object.(*corev1.Service)
	return ok
}

// eachItem calls do for every object of a list.
func eachItem(list runtime.Object, do func(Object) error) error {
	return meta.EachListItem(list, func(item runtime.Object) error { return do(item.(Object)) })
}
