package informer

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
)

// waitPeriod is how often Wait looks. client-go's own wait looks ten times a second, and where some wait for others one after
// another, a scheduler that starts would keep all pods for half a second.
const waitPeriod = 5 * time.Millisecond

// Wait waits until all are synced. It is false when the context ends before.
func Wait(ctx context.Context, synced ...cache.InformerSynced) bool {
	next := 0
	return wait.PollUntilContextCancel(ctx, waitPeriod, true, func(context.Context) (bool, error) {
		for next < len(synced) && synced[next]() {
			next++
		}
		return next == len(synced), nil
	}) == nil
}
