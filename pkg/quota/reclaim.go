package quota

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/resource"
)

// Kind is how much it hurts to take something back; less goes first.
type Kind int

const (
	// Slot that no worker has claimed yet: nobody notices.
	Slot Kind = iota
	// Elastic worker beyond those its gang started with: the gang goes on with fewer.
	Elastic
	// Gang as a whole, with its leader: its work is lost. A leader is never taken alone.
	Gang
)

// String is the name of the constant.
func (k Kind) String() string { return [...]string{Slot: "Slot", Elastic: "Elastic", Gang: "Gang"}[k] }

// Victim is something that may be taken back, if the rules allow.
type Victim struct {
	// ID is unique among victims.
	ID   types.UID
	Kind Kind
	// Gang it belongs to. When the whole gang is taken, its slots and workers are not named besides.
	Gang  string
	Queue string
	// Priority of its pods; lower goes first.
	Priority int32
	// Since when it holds what it holds; later goes first, because less is lost.
	Since time.Time
	// Started is when it began to run, by which its queue protects it.
	Started time.Time
	// Protected: a PodDisruptionBudget has no room for it. It goes last among its kind.
	Protected bool
	// Amount that comes free: for a Gang all it holds, slots and elastic workers included.
	Amount resource.Vector
	// User it is charged to. Gangs and Leader are what is charged besides Amount: none for a slot or an elastic worker.
	User   string
	Gangs  int64
	Leader resource.Vector
	// Number is the asker's own, to know it again; nothing depends on it.
	Number int
}

// Demand is what a queue is charged less when it has gone.
func (v Victim) Demand() Demand {
	return Demand{User: v.User, Amount: v.Amount, Leader: v.Leader, Gangs: v.Gangs}
}

// Request is what one waiting gang wants of what others hold.
type Request struct {
	Queue string
	// Now is when it does.
	Now time.Time
	// Demand of the gang, and what of it does not fit: SelectVictims takes at least as much of each resource that is lacking.
	Demand, Lacking resource.Vector
	// InPieces means that sums say nothing: enough of everything is there, and not where the gang needs it, or something else is counted. Anything
	// of what is lacking may help.
	InPieces bool
	// Priority of the gang, and whether its PriorityClass lets it preempt in its own queue.
	Priority int32
	Preempts bool
	// Early: the gang has not waited for as long as its queue wants, so others give nothing yet.
	Early bool
	// Within is the queue whose limit stands in the way, so that only what is below it helps; empty means that room on
	// nodes does.
	Within string
	// Counted is what stands in the way if the queue has room and counts something else, of which lower priorities of the request's own
	// queue may leave it less. It passes otherwise.
	Counted Verdict
	// Taken is what other requests of the queue have taken back in this round.
	Taken resource.Vector
}

// Obstacle is why nothing is taken. The set is closed.
type Obstacle string

const (
	// ReclaimOff: the queue's reclaim is not enabled.
	ReclaimOff Obstacle = "ReclaimOff"
	// TooEarly: the gang has not waited for as long as its queue wants.
	TooEarly Obstacle = "TooEarly"
	// BeyondGuarantee: with the gang the queue would use more of what it lacks than it is guaranteed.
	BeyondGuarantee Obstacle = "BeyondGuarantee"
	// NotEnough: all that may be taken does not make the gang fit.
	NotEnough Obstacle = "NotEnough"
	// BudgetSpent: it would be more than the queue takes back in one round.
	BudgetSpent Obstacle = "BudgetSpent"
	// TooYoung: what may be taken would be enough if all had run for as long as their queues protect them.
	TooYoung Obstacle = "TooYoung"
)

// Choice is what to take: in order, and all of it or nothing.
type Choice struct {
	// Victims are empty if there is an Obstacle.
	Victims []Victim
	// Obstacle is empty if there are Victims, or nothing is lacking. Below it, a resource and how much of it would be
	// used or taken, and how much may be: zero, and no resource, where there are no numbers.
	Obstacle    Obstacle
	Resource    v1.ResourceName
	Used, Limit int64
	// Protection is for how long the gang waits if all goes on as it is; zero unless the Obstacle is TooYoung.
	Protection Protection
}

// String is the sentence for a user, without the obstacle.
func (c Choice) String() string {
	switch c.Obstacle {
	case ReclaimOff:
		return "the queue does not take back what it lends"
	case TooEarly:
		return "it has not waited long enough"
	case BeyondGuarantee:
		return fmt.Sprintf("the queue would use %s %s, and is guaranteed %s", c.Resource, quantity(c.Resource, c.Used), quantity(c.Resource, c.Limit))
	case NotEnough:
		return "all that may be taken back is not enough"
	case BudgetSpent:
		return fmt.Sprintf("%s %s would be taken back in this round, of at most %s", c.Resource, quantity(c.Resource, c.Used), quantity(c.Resource, c.Limit))
	case TooYoung:
		return c.Protection.String()
	default:
		return fmt.Sprintf("%d to take back", len(c.Victims))
	}
}

// SelectVictims selects what to take so that a gang fits, and nothing if it would not fit then. enough tells whether what has been
// selected makes it fit, on nodes and not in sums; nil means that sums suffice. It is only asked when sums do, or say nothing.
//
//   - From other queues, if the queue reclaims and stays within its guarantee with the gang: what they use beyond their own
//     guarantees of the resources that are lacking. No queue, and none above it that the request comes from outside of, gets
//     below its guarantee in a resource that is lacking. A queue within its dead zone, or exempt, is left alone.
//     Where a queue above the request's would exceed its own guarantee, those below it give until it does not.
//     No gang goes as a whole before it has run for as long as its queue protects it.
//   - From its own queue, if the gang preempts: what has a lower priority, however young it is.
//
// Slots that nobody claimed go first, then elastic workers, then whole gangs, and among each what is protected last. The
// queue gives next that would be last in turn, and in it the lowest priority and then the youngest. What turns out not to be
// needed stays. The search is not exhaustive: where only an odd combination of sizes would do, nothing is taken, and the next
// gang to end decides.
func (t *Tree) SelectVictims(c Request, victims []Victim, enough func([]Victim) bool) Choice {
	t.settle()
	s := newSelection(t, c, enough)
	if len(s.lacking) == 0 {
		return Choice{}
	}
	if s.obstacle.Obstacle != "" && !c.Preempts {
		return s.obstacle
	}
	if s.takeAny(victims) {
		return s.withinBudget()
	}
	if s.obstacle.Obstacle != "" {
		return s.obstacle
	}
	return s.laterOn(victims)
}

// takeAny chooses what suffices and nothing that is not needed, and tells whether there is anything.
func (s *selection) takeAny(victims []Victim) bool {
	// What is small may leave a queue too little for a whole gang that would suffice, so others are tried without.
	for _, kinds := range [][]Kind{{Slot, Elastic, Gang}, {Elastic, Gang}, {Slot, Gang}, {Gang}} {
		s.chosen, s.taken, s.gangs = nil, map[*node]resource.Vector{}, map[string]resource.Vector{}
		if s.take(kinds, victims) {
			s.spare()
			return true
		}
	}
	return false
}

// selection is a Choice in the making.
type selection struct {
	request Request
	own     *node
	enough  func([]Victim) bool
	// lacking are the resources of which something is.
	lacking []v1.ResourceName
	// obstacle is why other queues give nothing.
	obstacle Choice
	// above are the queues over the request's: what one below them gives and another gets changes nothing for them.
	above map[*node]bool
	// now is by when it is judged who is protected.
	now time.Time

	tree   *Tree
	chosen []Victim
	// taken so far, of each queue with all below it, and of each gang.
	taken map[*node]resource.Vector
	gangs map[string]resource.Vector
}

func newSelection(t *Tree, c Request, enough func([]Victim) bool) *selection {
	s := &selection{
		request: c, own: t.leaf(c.Queue), enough: enough, tree: t, now: c.Now,
		above: map[*node]bool{t.root: true},
	}
	for name := range c.Lacking.List() {
		if c.Lacking.Of(name) > 0 {
			s.lacking = append(s.lacking, name)
		}
	}
	if c.Lacking.Pods > 0 {
		s.lacking = append(s.lacking, v1.ResourcePods)
	}
	slices.Sort(s.lacking)
	queue := s.own
	if queue.ofParent() {
		queue = queue.parent
	}
	for _, n := range s.own.path {
		s.above[n] = true
	}
	if !queue.Reclaim.Enabled {
		s.obstacle = Choice{Obstacle: ReclaimOff}
		return s
	}
	if c.Early {
		s.obstacle = Choice{Obstacle: TooEarly}
		return s
	}
	for _, name := range s.lacking {
		if used, guaranteed := queue.used.Of(name)+c.Demand.Of(name), queue.guaranteed.or0(name); used > guaranteed {
			s.obstacle = Choice{Obstacle: BeyondGuarantee, Resource: name, Used: used, Limit: guaranteed}
			return s
		}
	}
	return s
}

// ofParent tells whether a node is that of an inner queue's own gangs, which share what the queue is guaranteed.
func (n *node) ofParent() bool { return n.parent.parent != nil && n.parent.Name == n.Name }

// take chooses victims of some kinds until they suffice, and tells whether they do.
func (s *selection) take(kinds []Kind, victims []Victim) bool {
	var givers [Gang + 1][]*giver // kind -> in the order of their first victim, which does not matter: no two compare equal
	byLeaf := map[*node]*[Gang + 1]*giver{}
	for _, v := range victims {
		leaf := s.tree.leaf(v.Queue)
		if !slices.Contains(kinds, v.Kind) || !s.mayGive(leaf, v) || s.protects(leaf, v) {
			continue
		}
		if byLeaf[leaf] == nil {
			byLeaf[leaf] = &[Gang + 1]*giver{}
		}
		g := byLeaf[leaf][v.Kind]
		if g == nil {
			g = &giver{leaf: leaf}
			byLeaf[leaf][v.Kind] = g
			givers[v.Kind] = append(givers[v.Kind], g)
		}
		g.victims = append(g.victims, v)
	}
	for _, ofKind := range givers {
		for _, g := range ofKind {
			slices.SortFunc(g.victims, func(a, b Victim) int {
				return cmp.Or(compareBool(a.Protected, b.Protected), cmp.Compare(a.Priority, b.Priority), b.Since.Compare(a.Since), cmp.Compare(a.ID, b.ID))
			})
		}
	}
	for !s.suffices(s.chosen) {
		if !slices.ContainsFunc(givers[:], s.takeOne) {
			return false
		}
	}
	return true
}

// MayGive tells whether a request may take anything of a queue's own gangs at all, whatever they hold.
func (t *Tree) MayGive(r Request, queue string) bool {
	t.settle()
	s, leaf := newSelection(t, r, nil), t.leaf(queue)
	return slices.ContainsFunc(s.lacking, func(name v1.ResourceName) bool {
		bit := resource.OfAmounts([]resource.Amount{{Name: name, Value: 1}})
		return s.mayGive(leaf, Victim{Priority: math.MinInt32, Amount: bit, Leader: bit, Gangs: 1, User: r.Counted.User})
	})
}

// Allows tells whether victims that were selected from a Snapshot may still be taken, all of them: the rules of SelectVictims
// allow each of them, and no queue has got below its guarantee meanwhile.
func (t *Tree) Allows(r Request, victims []Victim) bool {
	t.settle()
	s := newSelection(t, r, nil)
	if s.obstacle.Obstacle != "" && !r.Preempts {
		return false
	}
	s.taken, s.gangs = map[*node]resource.Vector{}, map[string]resource.Vector{}
	for _, v := range victims {
		leaf := t.leaf(v.Queue)
		if !s.mayGive(leaf, v) || !s.leavesGuarantees(leaf, v) || s.protects(leaf, v) {
			return false
		}
		s.add(leaf, v)
	}
	return !slices.ContainsFunc(victims, func(v Victim) bool { return !s.reaches(t.leaf(v.Queue)) })
}

// giver is what a leaf may give of one kind, in order.
type giver struct {
	leaf    *node
	victims []Victim
}

// takeOne chooses the first victim of one kind, if there is any that helps.
func (s *selection) takeOne(givers []*giver) bool {
	var missing resource.Vector
	if !s.request.InPieces {
		missing = s.request.Lacking.Missing(sum(s.chosen))
	}
	var last *giver
	var at int
	for _, g := range givers {
		if !s.reaches(g.leaf) {
			continue
		}
		first := slices.IndexFunc(g.victims, func(v Victim) bool { return s.helps(v, missing) && s.leavesGuarantees(g.leaf, v) })
		if first < 0 {
			continue
		}
		if last != nil {
			order := compareBool(g.victims[first].Protected, last.victims[at].Protected)
			if order > 0 || order == 0 && !s.givesBefore(g.leaf, last.leaf) {
				continue
			}
		}
		last, at = g, first
	}
	if last == nil {
		return false
	}
	s.add(last.leaf, last.victims[at])
	last.victims = slices.Delete(last.victims, at, at+1)
	return true
}

// reaches tells whether the request goes as far as a leaf: no queue above the request's that the leaf is not below of would
// exceed its guarantee of what is lacking, now that others below it have given.
func (s *selection) reaches(leaf *node) bool {
	for _, n := range s.own.path {
		if slices.Contains(leaf.path, n) {
			return true
		}
		for _, name := range s.lacking {
			if !n.ofParent() && n.used.Of(name)-s.taken[n].Of(name)+s.request.Demand.Of(name) > n.guaranteed.or0(name) {
				return false
			}
		}
	}
	return true
}

// mayGive tells whether something may be taken at all, however much else is.
func (s *selection) mayGive(leaf *node, v Victim) bool {
	if within := s.tree.queues[s.request.Within]; s.request.Within != "" && !slices.Contains(leaf.path, within) {
		return false
	}
	if leaf == s.own {
		return s.request.Preempts && v.Priority < s.request.Priority && s.request.Counted.lessens(v)
	}
	if s.obstacle.Obstacle != "" || !s.request.Counted.Passes() || leaf.Reclaim.Exempt {
		return false
	}
	return slices.ContainsFunc(s.lacking, func(name v1.ResourceName) bool {
		return v.Amount.Of(name) > 0 && s.borrows(leaf, name)
	})
}

// borrows tells whether a leaf, and all above it up to where it meets the request's queue, use so much more of a resource
// than they are guaranteed that they are to give some back.
func (s *selection) borrows(leaf *node, name v1.ResourceName) bool {
	for n := leaf; !s.above[n]; n = n.parent {
		guaranteed := n.guaranteed.or0(name)
		if used := n.used.Of(name); used <= guaranteed || used <= percent(guaranteed, 100+n.Reclaim.DeadZone) {
			return false
		}
	}
	return true
}

// leavesGuarantees tells whether a leaf, and all above it up to where it meets the request's queue, keep what they are
// guaranteed of the resources that are lacking when something more is taken.
func (s *selection) leavesGuarantees(leaf *node, v Victim) bool {
	if leaf == s.own {
		return true
	}
	more := s.net(v)
	for n := leaf; !s.above[n]; n = n.parent {
		for _, name := range s.lacking {
			if take := more.Of(name); take > 0 && n.used.Of(name)-s.taken[n].Of(name)-take < n.guaranteed.or0(name) {
				return false
			}
		}
	}
	return true
}

// net is what taking something frees beyond what has been chosen of its gang already.
func (s *selection) net(v Victim) resource.Vector {
	if v.Kind != Gang {
		return v.Amount
	}
	return resource.Vector{}.Max(v.Amount.Sub(s.gangs[v.Gang]))
}

// helps tells whether something frees what is still missing; when sums suffice but not yet nodes, what was lacking.
func (s *selection) helps(v Victim, missing resource.Vector) bool {
	more := s.net(v)
	return slices.ContainsFunc(s.lacking, func(name v1.ResourceName) bool {
		return more.Of(name) > 0 && (missing.IsZero() || missing.Of(name) > 0)
	})
}

// givesBefore tells which of two leaves gives first: at the level where they part, the one that would be last in turn with
// what it still has.
func (s *selection) givesBefore(a, b *node) bool {
	n, m := siblings(a, b)
	return cmp.Or(m.keyFor(m.used.Sub(s.taken[m]), s.request.Lacking).compare(n.keyFor(n.used.Sub(s.taken[n]), s.request.Lacking)), cmp.Compare(n.Name, m.Name)) < 0
}

// add takes something, and with a gang all that was chosen of it before.
func (s *selection) add(leaf *node, v Victim) {
	more := s.net(v)
	for _, n := range leaf.path {
		s.taken[n] = s.taken[n].Add(more)
	}
	s.gangs[v.Gang] = s.gangs[v.Gang].Add(more)
	if v.Kind == Gang {
		s.chosen = slices.DeleteFunc(s.chosen, func(part Victim) bool { return part.Gang == v.Gang })
	}
	s.chosen = append(s.chosen, v)
}

// suffices tells whether something chosen makes the gang fit: in sums, and then for whoever knows the nodes.
func (s *selection) suffices(chosen []Victim) bool {
	if s.request.InPieces && len(chosen) == 0 || !s.request.InPieces && !s.request.Lacking.Missing(sum(chosen)).IsZero() {
		return false
	}
	return s.enough == nil || s.enough(chosen)
}

func sum(victims []Victim) resource.Vector {
	var total resource.Vector
	for _, v := range victims {
		total = total.Add(v.Amount)
	}
	return total
}

// spare leaves everybody alone whom it does without, those who would lose most first, unless others gave only because they
// do.
func (s *selection) spare() {
	for at := len(s.chosen) - 1; at >= 0; at-- {
		v := s.chosen[at]
		rest := slices.Delete(slices.Clone(s.chosen), at, at+1)
		if !s.suffices(rest) {
			continue
		}
		for _, n := range s.tree.leaf(v.Queue).path {
			s.taken[n] = s.taken[n].Sub(v.Amount)
		}
		if slices.ContainsFunc(rest, func(other Victim) bool { return !s.reaches(s.tree.leaf(other.Queue)) }) {
			for _, n := range s.tree.leaf(v.Queue).path {
				s.taken[n] = s.taken[n].Add(v.Amount)
			}
			continue
		}
		s.chosen = rest
	}
}

// withinBudget is the choice, unless the queue would take back more in this round than it may. What its own gangs give by
// priority does not count, and the first request of a round always passes.
func (s *selection) withinBudget() Choice {
	queue := s.own
	if queue.ofParent() {
		queue = queue.parent
	}
	if budget := queue.Reclaim.Budget; budget != nil && !s.request.Taken.IsZero() {
		total := s.request.Taken
		for _, v := range s.chosen {
			if s.tree.leaf(v.Queue) != s.own {
				total = total.Add(v.Amount)
			}
		}
		for _, name := range s.lacking {
			if most := percent(queue.guaranteed.or0(name), *budget); total.Of(name) > most && total.Of(name) > s.request.Taken.Of(name) {
				return Choice{Obstacle: BudgetSpent, Resource: name, Used: total.Of(name), Limit: most}
			}
		}
	}
	return Choice{Victims: s.chosen}
}
