package quota

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/test/scenario"
)

// TestScenarios plays the files in testdata with the commands of script.
func TestScenarios(t *testing.T) {
	scenario.Run(t, func(*testing.T) func(string) ([]string, error) {
		s := &script{specs: map[string]Spec{}, capacity: map[string]resource.Vector{}, gangs: map[string]*scriptGang{}, now: start}
		return s.run
	})
}

// script understands the commands of scenarios. Every command takes a second.
//
//	queue NAME [parent=NAME] [cpu=GUARANTEED/LIMIT] [memory=…] [gpu=…] [weight=N] [gangs=N] [leaders=PERCENT] [order=Fair]
//	           [priority=N] [state=…] [minimum=PERCENT] [user-cpu=N] [reclaim] [budget=PERCENT] [dead-zone=PERCENT] [exempt] [protect=D]
//	           [pool=NAME]
//	                    a queue is made or changed; a part of GUARANTEED/LIMIT may be missing
//	nodes [pool=NAME] cpu=N [memory=N] [gpu=N]
//	                    what the nodes with this label have, and without a name all others; a gang's pods run in the pool of its queue
//	gang NAME queue=NAME cpu=N [memory=N] [gpu=N] [leader=N] [user=NAME] [priority=N] [slots=N]
//	                    a gang waits; slots is the cpu of workers that will not have come when it runs
//	worker NAME of=GANG cpu=N          a worker beyond those the gang started with waits
//	start               everybody starts who may and finds room, in turn
//	end NAME…           they end
//	why NAME NAME       why the first goes before the second
//	back NAME           what is taken back for a gang that waits
//	shares              what each queue would hold if everything could be divided at will
//	show                what each queue uses
type script struct {
	specs    map[string]Spec
	capacity map[string]resource.Vector // pool -> what its nodes have
	tree     *parking
	gangs    map[string]*scriptGang
	now      time.Time
}

type scriptGang struct {
	Waiter
	of      string // for a worker: its gang
	slots   int64  // millicores
	running bool
}

// run executes one command and returns what it comes to.
func (s *script) run(line string) ([]string, error) {
	s.now = s.now.Add(time.Second)
	words := strings.Fields(line)
	keys := map[string]string{}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		keys[key] = value
	}
	number := func(key string) int64 {
		n, _ := strconv.ParseInt(keys[key], 10, 64)
		return n
	}
	vectorOf := func() resource.Vector {
		return resource.Vector{CPU: 1000 * number("cpu"), Memory: number("memory") << 30}.WithExtended(map[v1.ResourceName]int64{gpu: number("gpu")})
	}
	switch words[0] {
	case "queue":
		s.specs[words[1]] = specOf(words[1], keys)
		return s.rebuild(), nil
	case "nodes":
		s.capacity[keys["pool"]] = vectorOf()
		return s.rebuild(), nil
	case "gang":
		g := &scriptGang{slots: 1000 * number("slots"), Waiter: Waiter{
			ID: types.UID(words[1]), Queue: keys["queue"], Priority: int32(number("priority")), Since: s.now, Signature: words[1],
			Demand: Demand{User: keys["user"], Amount: vectorOf(), Leader: resource.Vector{CPU: 1000 * number("leader")}, Gangs: 1},
		}}
		s.gangs[words[1]] = g
		s.tree.Push(g.Waiter)
	case "worker":
		of := s.gangs[keys["of"]]
		if of == nil {
			return nil, fmt.Errorf("no gang %s", keys["of"])
		}
		g := &scriptGang{of: keys["of"], Waiter: Waiter{
			ID: types.UID(words[1]), Queue: of.Queue, Priority: of.Priority, Since: s.now, Signature: words[1], Elastic: true, Held: of.Demand.Amount,
			Demand: Demand{User: of.Demand.User, Amount: vectorOf()},
		}}
		s.gangs[words[1]] = g
		s.tree.Push(g.Waiter)
	case "start":
		return s.start(), nil
	case "end":
		for _, name := range words[1:] {
			if g := s.gangs[name]; g == nil {
				return nil, fmt.Errorf("no gang %s", name)
			} else if g.running {
				s.tree.Release(g.Queue, g.Demand)
			}
			s.tree.Remove(types.UID(name))
			delete(s.gangs, name)
		}
		s.tree.wake()
	case "why":
		return []string{s.tree.Explain(types.UID(words[1]), types.UID(words[2])).Named}, nil
	case "back":
		return s.back(s.gangs[words[1]]), nil
	case "shares":
		return s.shares(), nil
	case "show":
		return s.show(), nil
	default:
		return nil, fmt.Errorf("no command %s", words[0])
	}
	return nil, nil
}

func specOf(name string, keys map[string]string) Spec {
	spec := Spec{Name: name, Parent: keys["parent"], Order: Order(keys["order"]), State: State(keys["state"])}
	whole := func(key string) *int64 {
		if n, err := strconv.ParseInt(keys[key], 10, 64); err == nil {
			return &n
		}
		return nil
	}
	for key, unit := range map[string]resource.Amount{"cpu": {Name: "cpu", Value: 1000}, "memory": {Name: "memory", Value: 1 << 30}, "gpu": {Name: gpu, Value: 1}} {
		guaranteed, limit, _ := strings.Cut(keys[key], "/")
		if n, err := strconv.ParseInt(guaranteed, 10, 64); err == nil {
			spec.Guaranteed = append(spec.Guaranteed, resource.Amount{Name: unit.Name, Value: n * unit.Value})
		}
		if n, err := strconv.ParseInt(limit, 10, 64); err == nil {
			spec.Limit = append(spec.Limit, resource.Amount{Name: unit.Name, Value: n * unit.Value})
		}
	}
	if keys["pool"] != "" {
		spec.NodeSelector = selecting(keys["pool"])
	}
	spec.Weight, spec.MaxRunningGangs, spec.MaxLeaderShare = whole("weight"), whole("gangs"), whole("leaders")
	if priority := whole("priority"); priority != nil {
		spec.Priority = int32(*priority)
	}
	spec.Users.MinimumShare = whole("minimum")
	if n := whole("user-cpu"); n != nil {
		spec.Users.Limit = cpu(*n)
	}
	_, spec.Reclaim.Enabled = keys["reclaim"]
	_, spec.Reclaim.Exempt = keys["exempt"]
	spec.Reclaim.Budget = whole("budget")
	if n := whole("dead-zone"); n != nil {
		spec.Reclaim.DeadZone = *n
	}
	spec.Reclaim.Protect, _ = time.ParseDuration(keys["protect"])
	return spec
}

// rebuild makes a new tree in which everything is charged and waits as before, and says what is wrong with it.
func (s *script) rebuild() []string {
	s.tree = parkingOf(New(slices.Collect(maps.Values(s.specs))))
	if len(s.capacity) > 0 {
		var capacities []resource.Vector
		for p := range Pools(s.tree.Tree) {
			capacities = append(capacities, s.capacity[s.poolNamed(p)])
		}
		s.tree.SetCapacity(capacities...)
	}
	for _, g := range s.sorted() {
		if g.running {
			s.tree.Charge(g.Queue, g.Demand)
		} else {
			s.tree.Push(g.Waiter)
		}
	}
	var said []string
	for _, p := range s.tree.Problems() {
		said = append(said, p.String())
	}
	return said
}

func (s *script) sorted() []*scriptGang {
	return slices.SortedFunc(maps.Values(s.gangs), func(a, b *scriptGang) int { return strings.Compare(string(a.ID), string(b.ID)) })
}

// poolNamed is the name of a pool of the tree; empty for the Rest.
func (s *script) poolNamed(pool int) string {
	return strings.TrimPrefix(Pools(s.tree.Tree)[pool].text(), "pool=")
}

// free is what the nodes have free of the pool of a queue.
func (s *script) free(queue string) resource.Vector {
	pool := PoolOf(s.tree.Tree, queue)
	free := s.capacity[s.poolNamed(pool)]
	for _, g := range s.gangs {
		if g.running && PoolOf(s.tree.Tree, g.Queue) == pool {
			free = free.Sub(g.Demand.Amount)
		}
	}
	return free
}

func (s *script) start() []string {
	var said []string
	s.tree.wakeFreed()
	for w, ok := s.tree.Next(); ok; w, ok = s.tree.Next() {
		v := s.tree.Fits(w.Queue, w.Demand)
		switch {
		case !v.Passes():
			s.tree.park(w.ID, v)
			said = append(said, fmt.Sprintf("%s waits: %s: %s", w.ID, v.Reason, v))
		case !w.Demand.Amount.Fits(s.free(w.Queue)):
			s.tree.park(w.ID, Verdict{})
			said = append(said, fmt.Sprintf("%s waits for room: %s is free", w.ID, s.free(w.Queue)))
		default:
			s.tree.Remove(w.ID)
			s.tree.Charge(w.Queue, w.Demand)
			s.gangs[string(w.ID)].running = true
			s.gangs[string(w.ID)].Since = s.now
			said = append(said, fmt.Sprintf("%s starts", w.ID))
		}
	}
	return said
}

// back takes what is chosen away, and lets the gang start that it was taken for.
func (s *script) back(g *scriptGang) []string {
	var victims []Victim
	for _, other := range s.sorted() {
		if !other.running {
			continue
		}
		v := Victim{ID: other.ID, Kind: Gang, Gang: string(other.ID), Queue: other.Queue, Priority: other.Priority, Since: other.Since, Started: other.Since, Amount: other.Demand.Amount}
		if other.of != "" {
			v.Kind, v.Gang = Elastic, other.of
			victims = append(victims, v)
			continue
		}
		if other.slots > 0 {
			victims = append(victims, Victim{ID: "slots of " + other.ID, Kind: Slot, Gang: v.Gang, Queue: v.Queue, Priority: v.Priority, Since: v.Since, Amount: resource.Vector{CPU: other.slots}})
		}
		for _, worker := range s.gangs {
			if worker.running && worker.of == string(other.ID) {
				v.Amount = v.Amount.Add(worker.Demand.Amount)
			}
		}
		victims = append(victims, v)
	}
	claim := Request{
		Queue: g.Queue, Now: s.now, Demand: g.Demand.Amount, Lacking: g.Demand.Amount.Missing(s.free(g.Queue)), Priority: g.Priority, Preempts: g.Priority > 0,
	}
	choice := s.tree.SelectVictims(claim, victims, nil)
	if choice.Obstacle != "" {
		return []string{fmt.Sprintf("nothing: %s: %s", choice.Obstacle, choice)}
	}
	said := []string{fmt.Sprintf("lacks %s", claim.Lacking)}
	for _, v := range choice.Victims {
		said = append(said, fmt.Sprintf("%s %s of queue %s gives %s", strings.ToLower(v.Kind.String()), v.ID, v.Queue, v.Amount))
	}
	return said
}

func (s *script) shares() []string {
	demand := map[string]resource.Vector{}
	for _, g := range s.gangs {
		demand[g.Queue] = demand[g.Queue].Add(g.Demand.Amount)
	}
	var said []string
	shares := s.tree.Shares(demand)
	for _, name := range slices.Sorted(maps.Keys(s.specs)) {
		share := shares[name]
		share.CPU, share.Memory = (share.CPU+500)/1000*1000, (share.Memory+1<<29)>>30<<30 // to whole cores and GiB
		said = append(said, fmt.Sprintf("%s %s", name, share))
	}
	return said
}

func (s *script) show() []string {
	var said []string
	for _, name := range slices.Sorted(maps.Keys(s.specs)) {
		u, _ := s.tree.Usage(name)
		line := fmt.Sprintf("%s uses %s", name, u.Used)
		if !u.Borrowed.IsZero() && len(u.Guaranteed) > 0 {
			line += fmt.Sprintf("; borrows %s", u.Borrowed)
		}
		said = append(said, fmt.Sprintf("%s; %d run, %d wait", line, u.Gangs, u.Waiting))
	}
	return said
}
