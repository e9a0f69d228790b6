// +kubebuilder:object:generate=true
// +groupName=retinue.dev

// Package v1alpha1 is the first version of what users write down for Retinue: the objects of the group retinue.dev, and the
// arguments of the scheduler plugin.
package v1alpha1
