package plugin

import (
	"context"
	"slices"
	"time"

	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/plugin/informer"
)

// readingPatience is after how long the log says what is still being read, and how often it says so again.
const readingPatience = 30 * time.Second

// reading is what has to be known of the cluster before any pod is let through.
type reading struct {
	names  []string               // of kinds
	synced []cache.InformerSynced // index of names -> whether all that existed at the start is known
}

func (r *reading) add(name string, synced cache.InformerSynced) {
	r.names, r.synced = append(r.names, name), append(r.synced, synced)
}

// left are the names of those that are not known yet.
func (r *reading) left() []string {
	var left []string
	for i, name := range r.names {
		if !r.synced[i]() {
			left = append(left, name)
		}
	}
	return left
}

// await waits until all is known, and says in the log what is not when that takes long: nothing starts meanwhile, and the process is ready all
// the same. It is false when the context ends before.
func (r *reading) await(ctx context.Context, clock clock.Clock, logger klog.Logger) bool {
	known := make(chan struct{})
	defer close(known)
	go func() {
		for began := clock.Now(); ; {
			select {
			case <-known:
				return
			case <-ctx.Done():
				return
			case <-clock.After(readingPatience):
			}
			if left := r.left(); len(left) > 0 {
				logger.Error(nil, "No pod is let through: the cluster is still being read", "missing", left, "waited", clock.Since(began).Round(time.Second))
			}
		}
	}()
	return informer.Wait(ctx, slices.Clone(r.synced)...)
}
