package placement

const (
	// rounds bounds the search by bids; more find hardly anything more.
	rounds = 40
	// pacing is how much of a bid depends on how far the role is within a round. Little is enough to have alike nodes
	// take different patterns; much more spoils gangs that fill the nodes to the last seat.
	pacing = 0.05
	// stepsPerVisit is what a node costs in a round before its patterns are looked at.
	stepsPerVisit = 8
)

// bids is the search for gangs that are too large for the exact one. Every role bids for the nodes, so much for the
// seat of one worker; a node takes the pattern that pays most, counting only workers that still lack a seat. A role
// that ends a round with workers left raises its bid; the raise is halved whenever the role had enough the round
// before. Within a round a role that is ahead of its share of the nodes bids a little less, so that alike nodes take
// different patterns where that is what all roles need. Where a gang is much larger than a node the
// choice of single nodes hardly matters, and this comes close to the best there is; it proves nothing when it fails.
type bids struct {
	bid    []float64 // role -> what it pays for a seat when it is seated no faster and no slower than its share
	raise  []float64 // role -> how much of its bid it adds when it is left short
	short  []bool    // role -> whether it was left short in the round before
	now    []float64 // role -> what it pays on the node being looked at
	beyond []int64   // role -> room on the nodes not yet looked at
}

// searchByBids chooses patterns that seat everybody, if it finds some.
func (q *search) searchByBids(sc *scope) bool {
	b := &q.bids
	roles := len(q.gang.Roles)
	b.bid, b.raise, b.short = grow(b.bid, roles), grow(b.raise, roles), grow(b.short, roles)
	b.now, b.beyond = grow(b.now, roles), grow(b.beyond, roles)
	for _, r := range q.active {
		b.bid[r], b.raise[r], b.short[r] = float64(q.gang.Roles[r].Count)/float64(sc.total[r]), 1, true
	}
	for range rounds {
		q.auction(sc)
		left := 0
		for _, r := range q.active {
			short := q.missing[r] > 0
			if short {
				left++
				if !b.short[r] {
					b.raise[r] /= 2
				}
				b.bid[r] *= 1 + b.raise[r]
			}
			b.short[r] = short
		}
		if left == 0 {
			return true
		}
		if q.steps > 2*stepsPerSearch {
			return false
		}
	}
	return false
}

// auction gives every node the pattern that pays most.
func (q *search) auction(sc *scope) {
	b := &q.bids
	q.resetMissing()
	copy(b.beyond, sc.total)
	main := len(q.others)
	for i, node := range sc.nodes {
		for _, r := range q.active {
			// What the role needs of the room that is left, in proportion to what it needed at first.
			pace := float64(q.missing[r]) / float64(b.beyond[r]+1) * float64(sc.total[r]) / float64(q.gang.Roles[r].Count)
			b.now[r] = b.bid[r] * (1 - pacing + pacing*pace)
			b.beyond[r] -= int64(q.room[r][node])
		}
		best, most := int32(-1), 0.0
		for p := q.spans[i].from; p < q.spans[i].to; p++ {
			workers := q.workersIn(p)
			paid := b.now[q.main] * float64(min(int(workers[main]), q.missing[q.main]))
			for j, r := range q.others {
				paid += b.now[r] * float64(min(int(workers[j]), q.missing[r]))
			}
			if paid > most {
				best, most = p, paid
			}
		}
		q.steps += stepsPerVisit + int(q.spans[i].to-q.spans[i].from)
		if q.chosen[i] = best; best >= 0 {
			workers := q.workersIn(best)
			q.missing[q.main] -= min(int(workers[main]), q.missing[q.main])
			for j, r := range q.others {
				q.missing[r] -= min(int(workers[j]), q.missing[r])
			}
		}
	}
}
