// Package informer is typed handlers for informers, which also understand the deletions that a watch has missed.
package informer

import "k8s.io/client-go/tools/cache"

// Handlers call seen with every object that is there, comes or changes, together with what it was before or nothing, and gone
// with the last known state of those that are deleted. A change may be from one object to another of its name, whose deletion
// the watch has missed: their UIDs differ.
func Handlers[T any](seen func(before, object T), gone func(T)) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) {
			var none T
			seen(none, object.(T))
		},
		UpdateFunc: func(before, object any) { seen(before.(T), object.(T)) },
		DeleteFunc: func(object any) {
			if deleted, ok := Last[T](object); ok {
				gone(deleted)
			}
		},
	}
}

// Last is an object that an informer's handler or filter is given; of a deleted one its final state, also when the watch missed its deletion.
func Last[T any](object any) (T, bool) {
	if unknown, missed := object.(cache.DeletedFinalStateUnknown); missed {
		object = unknown.Obj
	}
	typed, ok := object.(T)
	return typed, ok
}
