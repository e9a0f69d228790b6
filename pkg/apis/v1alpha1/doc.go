// Package v1alpha1 is the first version of what users write down for Retinue: the arguments of the scheduler plugin.
package v1alpha1
