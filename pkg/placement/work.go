package placement

// Units of work. A look at one node for one role takes some nanoseconds, and asking all filters of the framework about one node some
// microseconds.
const (
	// LooksPerNode is how many looks at one node for one role count as much as one node that the framework's filters are asked about.
	LooksPerNode = 1600
	// MostNodes is how many of those one attempt to schedule somebody may cost, looks included.
	MostNodes = 20_000
)

// Work is what an attempt has cost, and what it may still cost. The zero Work is a new attempt's; nil has no bound.
type Work struct {
	spent int // looks at one node for one role
}

// Spend takes looks at one node for one role.
func (w *Work) Spend(looks int) {
	if w != nil {
		w.spent += looks
	}
}

// SpendNodes takes nodes that the framework's filters were asked about.
func (w *Work) SpendNodes(nodes int) { w.Spend(nodes * LooksPerNode) }

// Spent is what it was in all, in filtered nodes, as far as they are full.
func (w *Work) Spent() int {
	if w == nil {
		return 0
	}
	return w.spent / LooksPerNode
}

// Left is how many nodes the framework's filters may still be asked about.
func (w *Work) Left() int {
	if w == nil {
		return MostNodes
	}
	return max(MostNodes-(w.spent+LooksPerNode-1)/LooksPerNode, 0)
}

// affords tells whether it may still cost so many looks.
func (w *Work) affords(looks int) bool {
	return w == nil || w.spent+looks <= MostNodes*LooksPerNode
}

// What an answer takes at most, in looks at one node for one role for each node and role: to load them, to arrange everybody in one order
// and to judge the nodes for the leader, or to say what is missing; and what a second order, and arranging everybody again for the plan,
// take besides.
const (
	looksAtOnce = 20
	looksAtMost = 48
	// looksToSearch bounds what other orders and searches add, of the answer and of the plan.
	looksToSearch = 2*9*visitsPerArranging + 6*stepsPerSearch
)

// Affords tells whether an answer for a gang of so many roles on so many nodes, at first sight, is within what may still be spent.
func (w *Work) Affords(nodes, roles int) bool { return w.affords(looksAtOnce * nodes * max(roles, 1)) }

// thorough tells the same of one with searches.
func (w *Work) thorough(nodes, roles int) bool {
	return w.affords(looksAtMost*nodes*roles + looksToSearch)
}
