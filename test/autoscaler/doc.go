// Package autoscaler is Retinue in a cluster whose nodes a real autoscaler buys: Karpenter with its kwok provider, on the local control
// plane. `make e2e-autoscaler` runs it.
package autoscaler
