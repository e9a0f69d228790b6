package informer

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
)

// backoff is how often Wait looks: soon again at first, in the end as often as client-go's own wait does. Where some wait for others one
// after another, ten looks a second would keep a scheduler that starts from all pods for half a second.
var backoff = wait.Backoff{Duration: 5 * time.Millisecond, Factor: 1.5, Cap: 100 * time.Millisecond, Steps: 100}

// Wait waits until all are synced. It is false when the context ends before.
func Wait(ctx context.Context, synced ...cache.InformerSynced) bool {
	next := 0
	return backoff.DelayFunc().Until(ctx, true, false, func(context.Context) (bool, error) {
		for next < len(synced) && synced[next]() {
			next++
		}
		return next == len(synced), nil
	}) == nil
}
