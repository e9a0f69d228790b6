package chronicle

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/plugin"
	"retinue.dev/retinue/pkg/resource"
)

// Node is a node and who sits on it now.
type Node struct {
	Name string
	CPU  int64  // millicores
	Seat []Seat // drivers first, then executors, then what is kept; each by name
}

// Seat is room on a node that one application has.
type Seat struct {
	// Application is its name; "" means that the pod belongs to none.
	Application string
	Kind        Kind
	CPU         int64 // millicores
}

// Kind is who sits on a seat.
type Kind int

// Kept is for a worker that does not exist yet.
const (
	Driver Kind = iota
	Executor
	Other
	Kept
)

// seats is the picture of all nodes, by name.
func (s *state) seats() []Node {
	nodes := make([]Node, 0, len(s.nodes))
	index := map[string]int{} // name -> position in nodes
	for _, name := range slices.Sorted(maps.Keys(s.nodes)) {
		if s.nodes[name].gone && s.nodes[name].taken.IsZero() {
			continue
		}
		index[name] = len(nodes)
		nodes = append(nodes, Node{Name: name, CPU: s.nodes[name].allocatable.CPU})
	}
	came := map[types.UID]map[string]int{} // driver -> node -> executors that are there
	for uid, pod := range s.pods {
		if pod.node == "" {
			continue
		}
		seat := Seat{Kind: Other, CPU: pod.requests.CPU}
		if a := s.applications[pod.driver]; a != nil {
			seat.Application, seat.Kind = a.Name, Executor
			if uid == pod.driver {
				seat.Kind = Driver
			} else {
				if came[pod.driver] == nil {
					came[pod.driver] = map[string]int{}
				}
				came[pod.driver][pod.node]++
			}
		}
		node := &nodes[index[pod.node]]
		node.Seat = append(node.Seat, seat)
	}
	for uid, a := range s.applications {
		if !a.Holding() {
			continue
		}
		for name, count := range a.slots {
			for range count - came[uid][name] {
				if i, known := index[name]; known {
					nodes[i].Seat = append(nodes[i].Seat, Seat{Application: a.Name, Kind: Kept, CPU: a.worker.CPU})
				}
			}
		}
	}
	for i := range nodes {
		slices.SortFunc(nodes[i].Seat, func(a, b Seat) int {
			return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Application, b.Application), cmp.Compare(a.CPU, b.CPU))
		})
	}
	return nodes
}

// reservationOf reads what a driver was bound with: node -> workers that room is kept for, and what the first role's
// workers ask for. Nothing means that there is no reservation.
func reservationOf(driver *v1.Pod) (map[string]int, resource.Vector) {
	var reservation struct {
		Roles []struct {
			Requests v1.ResourceList `json:"requests"`
		} `json:"roles"`
		Slots []struct {
			Node  string `json:"node"`
			Count int    `json:"count"`
		} `json:"slots"`
	}
	if err := json.Unmarshal([]byte(driver.Annotations[plugin.AnnotationReservation]), &reservation); err != nil {
		return nil, resource.Vector{}
	}
	slots := map[string]int{}
	for _, slot := range reservation.Slots {
		slots[slot.Node] += slot.Count
	}
	if len(reservation.Roles) == 0 {
		return slots, resource.Vector{}
	}
	return slots, resource.OfList(reservation.Roles[0].Requests)
}
