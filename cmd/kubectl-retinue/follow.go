package main

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// settle is how long more changes are waited for after the first, as they come together.
const settle = 200 * time.Millisecond

// following keeps what has been read once up to date, by watches. It ends with the command.
type following struct {
	ctx context.Context
	// changed holds something when any of it has changed since it was last looked at, and failed when a watch could not be had.
	changed, failed chan struct{}

	mu   sync.Mutex           // guards everything below
	sets map[string]*followed // what -> its objects; absent where they have to be listed
	// polled are those that may not be watched: what -> they are listed again and again.
	polled map[string]bool
}

// followed are objects that a watch keeps up.
type followed struct {
	objects map[types.NamespacedName]runtime.Object
	// stale is set when the watch has ended: they have to be listed again.
	stale bool
}

func newFollowing(ctx context.Context) *following {
	return &following{ctx: ctx, changed: make(chan struct{}, 1), failed: make(chan struct{}, 1), sets: map[string]*followed{}, polled: map[string]bool{}}
}

// objects are all of a kind, by namespace and name; what says which, of which namespace and with which selector.
func (f *following) objects(ctx context.Context, what string, source cache.ListerWatcherWithContext, options metav1.ListOptions) ([]runtime.Object, error) {
	f.mu.Lock()
	known, polled := f.sets[what], f.polled[what]
	fresh := known != nil && !known.stale
	f.mu.Unlock()
	if !fresh {
		list, err := source.ListWithContext(ctx, options)
		if err != nil {
			return nil, err
		}
		known = &followed{objects: map[types.NamespacedName]runtime.Object{}}
		if err := meta.EachListItem(list, func(object runtime.Object) error { known.put(object); return nil }); err != nil {
			return nil, err
		}
		about, err := meta.ListAccessor(list)
		if err != nil {
			return nil, err
		}
		known.stale = polled
		f.mu.Lock()
		f.sets[what] = known
		f.mu.Unlock()
		if !polled {
			options.ResourceVersion = about.GetResourceVersion()
			go f.keep(what, known, source, options)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	names := slices.SortedFunc(maps.Keys(known.objects), func(a, b types.NamespacedName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	objects := make([]runtime.Object, len(names))
	for i, name := range names {
		objects[i] = known.objects[name]
	}
	return objects, nil
}

// put notes an object, and returns its name.
func (s *followed) put(object runtime.Object) (name types.NamespacedName) {
	if about, err := meta.Accessor(object); err == nil {
		name = types.NamespacedName{Namespace: about.GetNamespace(), Name: about.GetName()}
		s.objects[name] = object
	}
	return name
}

// keep keeps objects up until the watch or the command ends. Whatever ends the watch, they are listed again when they are next looked at.
func (f *following) keep(what string, known *followed, source cache.ListerWatcherWithContext, options metav1.ListOptions) {
	watching, err := source.WatchWithContext(f.ctx, options)
	if err == nil {
		for event := range watching.ResultChan() {
			if event.Type == watch.Error {
				break
			}
			f.mu.Lock()
			name := known.put(event.Object)
			if event.Type == watch.Deleted {
				delete(known.objects, name)
			}
			f.mu.Unlock()
			notify(f.changed)
		}
		watching.Stop()
	}
	f.mu.Lock()
	known.stale = true
	f.polled[what] = f.polled[what] || apierrors.IsForbidden(err) || apierrors.IsMethodNotSupported(err)
	f.mu.Unlock()
	if err == nil {
		notify(f.changed)
	} else {
		notify(f.failed)
	}
}

func notify(channel chan struct{}) {
	select {
	case channel <- struct{}{}:
	default: // it will be looked at anyway
	}
}

// unwatched are those that may not be watched, or could not be for now.
func (f *following) unwatched() (forbidden []string, stale bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for what, known := range f.sets {
		stale = stale || known.stale
		if f.polled[what] {
			forbidden = append(forbidden, what)
		}
	}
	slices.Sort(forbidden)
	return forbidden, stale
}

// awaits is called before the command waits for changes.
var awaits = func() {}

// next waits until something has changed, or for the interval where that cannot be seen, or where time alone is a change. It is false when
// the command ends.
func (f *following) next(interval time.Duration, timeCounts bool) bool {
	awaits()
	for changed := false; !changed; {
		var again <-chan time.Time
		if _, stale := f.unwatched(); stale || timeCounts {
			again = time.After(interval)
		}
		select {
		case <-f.ctx.Done():
			return false
		case <-again:
			return true
		case <-f.failed:
		case <-f.changed:
			changed = true
		}
	}
	select {
	case <-f.ctx.Done():
		return false
	case <-time.After(settle):
	}
	select { // what has come meanwhile is looked at now
	case <-f.changed:
	default:
	}
	return true
}
