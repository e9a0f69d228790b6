package chronicle

import (
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

// Application is what is known of one driver and its executors.
type Application struct {
	ID, Name, Namespace string
	Driver              string // name of the pod
	Node                string // of the driver; "" while it waits
	Phase               v1.PodPhase
	// Reason is what the scheduler said last about the driver while it waited, "" if nothing.
	Reason string
	// Slots is how many workers had a reservation when the driver was bound; 0 with other schedulers.
	Slots int

	Created, Bound, Ended time.Time // zero means not yet
	// Executors that exist now. Refused ones are pending and were told that there is no room, though the gang needs them.
	Pending, Refused, Running int
	// MostRunning is the largest Running ever.
	MostRunning int
	// HalfStarted is the first moment at which an executor was refused while the driver held a node; "" means never.
	HalfStarted string
	// TakenBack tells that executors were refused because its queue gives back what it has borrowed: the driver has to go as well, and until
	// it has, they do not make the application half-started.
	TakenBack bool
	// Bereaved tells that a node went on which the application had a pod or a slot. What it lost may have to wait for
	// room, so it does not count as half-started from then on.
	Bereaved bool
}

// Holding tells whether the driver takes room on a node.
func (a Application) Holding() bool { return a.Node != "" && a.Ended.IsZero() }

// state is the record itself: a fold over the changes of pods and nodes.
type state struct {
	applications map[types.UID]*application // driver -> its application
	order        []types.UID                // of drivers, as they were seen first
	pods         map[types.UID]seen         // every pod that exists
	nodes        map[string]*node           // name -> its room
	overbooked   []string                   // what was seen, in order
	// blind: what is seen is not in the order in which it happened, so nothing is judged.
	blind bool
}

type application struct {
	Application
	executors map[types.UID]look
	// refusal is what the last executor that was refused was told.
	refusal string
	slots   map[string]int  // node -> workers that the reservation keeps room for, those that came included
	places  map[string]bool // nodes on which it ever had a pod or a slot
	// spare are executors that appeared, or were refused first, while there were others for all slots, those that are
	// being deleted included.
	// Spark asks for one too many when it does not learn that it has got one, and does not wait for the end of those
	// that it replaces. They may be refused.
	spare  map[types.UID]bool
	worker resource.Vector
}

// look is what counts of an executor.
type look int

const (
	pending look = iota
	refused
	running
	over
)

// seen is what of a pod is needed when it changes or goes.
type seen struct {
	node     string // where it takes room; "" means nowhere
	requests resource.Vector
	driver   types.UID // of the application it belongs to; "" means none
}

// node is what a node has and what is taken of it. Pods may be seen before their node, and be there after it.
type node struct {
	allocatable resource.Vector
	known       bool // it exists
	gone        bool // it existed
	taken       resource.Vector
}

func newState() *state {
	return &state{applications: map[types.UID]*application{}, pods: map[types.UID]seen{}, nodes: map[string]*node{}}
}

func (s *state) node(n *v1.Node) {
	entry := s.room(n.Name)
	entry.allocatable, entry.known, entry.gone = resource.OfList(n.Status.Allocatable), true, false
}

// nodeGone is a node that exists no more. Its pods may stay for a while, and be there when a node of its name comes.
func (s *state) nodeGone(name string) {
	entry := s.room(name)
	entry.allocatable, entry.known, entry.gone = resource.Vector{}, false, true
	for _, a := range s.applications {
		a.Bereaved = a.Bereaved || a.places[name]
	}
}

func (s *state) room(name string) *node {
	if s.nodes[name] == nil {
		s.nodes[name] = &node{}
	}
	return s.nodes[name]
}

// pod takes the latest state of a pod.
func (s *state) pod(now time.Time, pod *v1.Pod) {
	ended := pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed
	is := seen{requests: resource.OfPod(pod)}
	if !ended {
		is.node = pod.Spec.NodeName
	}
	switch {
	case spark.IsDriver(pod):
		is.driver = pod.UID
		s.driver(now, pod)
	case spark.IsExecutor(pod):
		for _, owner := range pod.OwnerReferences {
			is.driver = owner.UID
		}
		s.executor(now, pod, is.driver, ended)
	}
	s.move(pod, s.pods[pod.UID], is)
	s.pods[pod.UID] = is
	if a := s.applications[is.driver]; a != nil && is.node != "" {
		s.visit(a, is.node)
	}
}

// visit notes that an application has a pod or a slot on a node.
func (s *state) visit(a *application, node string) {
	a.places[node] = true
	if entry := s.nodes[node]; entry != nil && entry.gone {
		a.Bereaved = true
	}
}

// deleted is a pod that exists no more.
func (s *state) deleted(now time.Time, pod *v1.Pod) {
	was := s.pods[pod.UID]
	s.move(pod, was, seen{})
	delete(s.pods, pod.UID)
	a := s.applications[was.driver]
	switch {
	case a == nil:
	case was.driver == pod.UID:
		if a.Ended.IsZero() {
			a.Ended = now
		}
	default:
		delete(a.executors, pod.UID)
		a.count()
	}
}

// move keeps the sums per node.
func (s *state) move(pod *v1.Pod, was, is seen) {
	if was.node == is.node && was.requests.Equal(is.requests) {
		return
	}
	if was.node != "" {
		room := s.room(was.node)
		room.taken = room.taken.Sub(was.requests)
	}
	if is.node == "" {
		return
	}
	room := s.room(is.node)
	room.taken = room.taken.Add(is.requests)
	if !s.blind && room.overbooked() {
		s.overbooked = append(s.overbooked, fmt.Sprintf("%s: %s is asked for and %s is there since %s/%s was bound",
			is.node, room.taken, room.allocatable, pod.Namespace, pod.Name))
	}
}

func (n *node) overbooked() bool { return n.known && !n.taken.Fits(n.allocatable) }

// see begins to judge again after a time in which nobody could see: everything is known again, and what is has to be right.
func (s *state) see(now time.Time) {
	s.blind = false
	for name, room := range s.nodes {
		if room.overbooked() {
			s.overbooked = append(s.overbooked, fmt.Sprintf("%s: %s is asked for and %s is there since the API server is back", name, room.taken, room.allocatable))
		}
	}
	for _, a := range s.applications {
		if a.complete("") {
			for uid, look := range a.executors {
				if look == refused {
					a.spare[uid], a.executors[uid] = true, pending
				}
			}
		}
		a.count()
		s.judge(a, now, "of before")
	}
}

func (s *state) driver(now time.Time, pod *v1.Pod) {
	a := s.of(pod.UID)
	if a.Created.IsZero() {
		a.Created = now
		s.order = append(s.order, pod.UID)
	}
	a.ID, a.Name, a.Namespace, a.Driver = spark.AppID(pod), pod.Labels[spark.LabelAppName], pod.Namespace, pod.Name
	a.Phase = pod.Status.Phase
	if a.Bound.IsZero() && pod.Spec.NodeName != "" {
		a.Bound, a.Node = now, pod.Spec.NodeName
		a.slots, a.worker = reservationOf(pod)
		for _, count := range a.slots {
			a.Slots += count
		}
	}
	if pod.Spec.NodeName != "" {
		slots, _ := reservationOf(pod) // where they are now: slots move
		for node := range slots {
			s.visit(a, node)
		}
	}
	if condition := scheduled(pod); condition != nil && condition.Status == v1.ConditionFalse {
		a.Reason = condition.Message
	}
	if a.Ended.IsZero() && (a.Phase == v1.PodSucceeded || a.Phase == v1.PodFailed) {
		a.Ended = now
	}
	s.judge(a, now, "")
}

func (s *state) executor(now time.Time, pod *v1.Pod, driver types.UID, ended bool) {
	a := s.of(driver)
	is := pending
	switch condition := scheduled(pod); {
	case ended:
		is = over
	case pod.Status.Phase == v1.PodRunning:
		is = running
	case pod.Spec.NodeName == "" && condition != nil && strings.HasPrefix(condition.Message, string(gang.Reclaimed)+": "):
		a.TakenBack = true
	case pod.Spec.NodeName == "" && condition != nil && condition.Status == v1.ConditionFalse:
		is, a.refusal = refused, fmt.Sprintf("%s: %s", condition.Reason, condition.Message)
	}
	if was, known := a.executors[pod.UID]; (!known || is == refused && was == pending) && a.complete(pod.UID) {
		a.spare[pod.UID] = true
	}
	if is == refused && a.spare[pod.UID] {
		is = pending
	}
	a.executors[pod.UID] = is
	a.count()
	s.judge(a, now, pod.Name)
}

func (s *state) of(driver types.UID) *application {
	if s.applications[driver] == nil {
		s.applications[driver] = &application{executors: map[types.UID]look{}, places: map[string]bool{}, spare: map[types.UID]bool{}}
	}
	return s.applications[driver]
}

// complete tells whether there are executors for all slots of a gang without one. With a scheduler that keeps no slots
// there never are.
func (a *application) complete(without types.UID) bool {
	there := 0
	for uid, look := range a.executors {
		if look != over && look != refused && uid != without {
			there++
		}
	}
	return a.Slots > 0 && there >= a.Slots
}

func (a *application) count() {
	a.Pending, a.Refused, a.Running = 0, 0, 0
	for _, look := range a.executors {
		switch look {
		case pending:
			a.Pending++
		case refused:
			a.Pending++
			a.Refused++
		case running:
			a.Running++
		}
	}
	a.MostRunning = max(a.MostRunning, a.Running)
}

func (s *state) judge(a *application, now time.Time, executor string) {
	if a.HalfStarted == "" && !s.blind && !a.Bereaved && a.Holding() && a.Refused > 0 {
		a.HalfStarted = fmt.Sprintf("%s: driver %s holds node %s since %s while executor %s is refused, %d of its others run: %s",
			now.Format(time.StampMilli), a.Driver, a.Node, a.Bound.Format(time.StampMilli), executor, a.Running, a.refusal)
	}
}

// list is every application in the order in which drivers appeared.
func (s *state) list() []Application {
	list := make([]Application, 0, len(s.order))
	for _, uid := range s.order {
		list = append(list, s.applications[uid].Application)
	}
	return list
}

// scheduled is what the scheduler says of a pod; nil means nothing.
func scheduled(pod *v1.Pod) *v1.PodCondition {
	i := slices.IndexFunc(pod.Status.Conditions, func(c v1.PodCondition) bool { return c.Type == v1.PodScheduled })
	if i < 0 {
		return nil
	}
	return &pod.Status.Conditions[i]
}
