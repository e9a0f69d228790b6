package sim

import (
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// kind is what an informer informs about.
type kind int

const (
	podKind kind = iota
	nodeKind
)

func (k kind) String() string { return [...]string{"pod", "node"}[k] }

type watchEvent struct {
	what watch.EventType
	o    object
}

// informer is the shared informer of one replica for one kind: a watch, a store, and listeners that each hear of every
// change of the store in order, at a pace of their own.
type informer struct {
	cache.SharedIndexInformer // every method that is not overridden panics

	replica   *replica
	kind      kind
	store     *table[object]
	listeners []*listener

	// inbox is what the API server has sent and the informer has not read yet.
	inbox    []watchEvent
	reading  bool
	watching bool
	// session counts lists: what belongs to an older watch is not read any more.
	session int
	listed  atomic.Bool
}

func newInformer(r *replica, k kind) *informer {
	return &informer{replica: r, kind: k, store: newTable[object]()}
}

// AddEventHandler registers a listener. The simulation lists only after all listeners are there.
func (i *informer) AddEventHandler(handler cache.ResourceEventHandler) (cache.ResourceEventHandlerRegistration, error) {
	l := &listener{informer: i, handler: handler, name: "plugin"}
	i.listeners = append(i.listeners, l)
	return l, nil
}

// HasSynced tells whether the first list has been read.
func (i *informer) HasSynced() bool { return i.listed.Load() }

// list reads everything anew and watches from there. What is in the store and not in the list any more was deleted
// while nobody watched: its last known state is handed over in a tombstone.
func (i *informer) list() {
	w := i.replica.world
	i.session++
	i.inbox, i.reading, i.watching = nil, false, true
	objects := w.api.list(i.kind)
	first := !i.listed.Load()
	present := map[string]bool{}
	for _, o := range objects {
		present[keyOf(o)] = true
	}
	for _, old := range i.store.all() {
		if key := keyOf(old); !present[key] {
			i.store.remove(key)
			i.notify(notification{what: watch.Deleted, old: cache.DeletedFinalStateUnknown{Key: key, Obj: old}})
		}
	}
	for _, o := range objects {
		i.put(o, first)
	}
	for _, l := range i.listeners {
		l.first = first
		if first {
			l.initial = len(l.backlog)
			l.synced.Store(l.initial == 0)
		}
	}
	i.listed.Store(true)
}

// receive is called when the API server has something to tell.
func (i *informer) receive(e watchEvent) {
	if !i.watching {
		return
	}
	i.inbox = append(i.inbox, e)
	i.read()
}

// read schedules the reading of what is in the inbox.
func (i *informer) read() {
	if i.reading || len(i.inbox) == 0 {
		return
	}
	i.reading = true
	w, session := i.replica.world, i.session
	delay := w.chance.delay(time.Millisecond, 20*time.Millisecond)
	if w.strikes(WatchLag, 0.02) {
		delay = w.chance.between(100*time.Millisecond, 5*time.Second)
	}
	w.after(delay, func() {
		if i.replica.stopped.Load() || i.session != session {
			return
		}
		i.reading = false
		if w.strikes(WatchBroken, 0.01) {
			i.lose()
			return
		}
		n := w.chance.number(1, len(i.inbox))
		for _, e := range i.inbox[:n] {
			i.apply(e)
		}
		i.inbox = i.inbox[n:]
		i.read()
	})
}

// lose breaks the watch: what is in the inbox and what comes until the next list is missed.
func (i *informer) lose() {
	w := i.replica.world
	w.trace.add("%s: watch of %ss broken, %d events missed", i.replica.name, i.kind, len(i.inbox))
	i.session++
	i.inbox, i.watching = nil, false
	w.after(w.chance.between(time.Millisecond, 10*time.Second), func() {
		if !i.replica.stopped.Load() {
			w.trace.add("%s: %ss listed again", i.replica.name, i.kind)
			i.list()
		}
	})
}

func (i *informer) apply(e watchEvent) {
	if e.what == watch.Deleted {
		i.store.remove(keyOf(e.o))
		i.notify(notification{what: watch.Deleted, old: e.o})
		return
	}
	i.put(e.o, false)
}

func (i *informer) put(o object, first bool) {
	key := keyOf(o)
	old, known := i.store.get(key)
	i.store.put(key, o)
	if known {
		i.notify(notification{what: watch.Modified, old: old, new: o})
	} else {
		i.notify(notification{what: watch.Added, new: o, first: first})
	}
}

func (i *informer) notify(n notification) {
	for _, l := range i.listeners {
		l.backlog = append(l.backlog, n)
		l.listen()
	}
}

// notification is what a listener hears.
type notification struct {
	what  watch.EventType
	old   any // an object or a tombstone
	new   object
	first bool // part of the first list
}

// listener hears of every change, one after the other.
type listener struct {
	informer  *informer
	name      string
	handler   cache.ResourceEventHandler
	backlog   []notification
	listening bool
	first     bool
	// initial is how many notifications of the first list are still to come.
	initial int
	synced  atomic.Bool
}

// HasSynced tells whether everything of the first list has been heard.
func (l *listener) HasSynced() bool { return l.informer.listed.Load() && l.synced.Load() }

// HasSyncedChecker is not needed.
func (l *listener) HasSyncedChecker() cache.DoneChecker {
	panic("sim: HasSyncedChecker is not simulated")
}

func (l *listener) listen() {
	if l.listening || len(l.backlog) == 0 {
		return
	}
	l.listening = true
	w := l.informer.replica.world
	delay := w.chance.between(0, 100*time.Microsecond)
	switch {
	case w.strikes(WatchLag, 0.01):
		delay = w.chance.between(time.Millisecond, 3*time.Second)
	case l.name == "scheduler" && w.strikes(CacheLate, 0.5), l.name == "plugin" && w.strikes(LedgerLate, 0.5):
		delay = w.chance.between(time.Millisecond, 30*time.Millisecond)
	}
	w.after(delay, l.hear)
}

func (l *listener) hear() {
	r := l.informer.replica
	if r.stopped.Load() {
		return
	}
	l.listening = false
	n := l.backlog[0]
	l.backlog = l.backlog[1:]
	l.deliver(n)
	if !r.stopped.Load() && n.what != watch.Deleted && r.world.strikes(EventRepeated, 0.02) {
		l.deliver(notification{what: watch.Modified, old: n.new, new: n.new})
	}
	if l.initial > 0 {
		l.initial--
		if l.initial == 0 {
			l.synced.Store(true)
		}
	}
	l.listen()
}

func (l *listener) deliver(n notification) {
	r := l.informer.replica
	if l.name == "plugin" {
		if r.told.since.IsZero() && r.ledger.Census().Synced {
			r.told.since = time.Now()
			r.inherit()
		}
		r.told.hear(l.informer.kind, n)
	}
	r.world.trace.add("%s: %s hears %s", r.name, l.name, describe(l.informer.kind, n))
	hears := func() {
		switch n.what {
		case watch.Added:
			l.handler.OnAdd(n.new, n.first)
		case watch.Modified:
			l.handler.OnUpdate(n.old, n.new)
		case watch.Deleted:
			l.handler.OnDelete(n.old)
		}
	}
	if l.name != "plugin" {
		r.call(hears)
		return
	}
	r.frugally(n.new, func() { r.call(hears) })
}

func describe(k kind, n notification) string {
	o, missed := n.new, ""
	if n.what == watch.Deleted {
		switch old := n.old.(type) {
		case cache.DeletedFinalStateUnknown:
			o, missed = old.Obj.(object), " (missed)"
		case object:
			o = old
		}
	}
	return string(n.what) + " " + k.String() + " " + keyOf(o) + " v" + o.GetResourceVersion() + missed
}
