// Package placement is the answer to one question: does the whole gang fit on these nodes, and where, all or nothing.
//
// A gang is a leader and roles of identical workers. For one role the answer is exact and cheap: a node takes so many
// workers whatever the other nodes do, so the gang fits when the sum over the nodes reaches the count, and a leader on
// a node costs the difference between what the node takes without it and with it. Several roles share nodes, and then
// the question is a packing problem: roles are laid out one after another, largest worker first, and where that fails
// two searches take over, bounded in steps: an exact one for gangs whose smaller roles are small, and one by bids for
// the others. "Fits" is never said without a layout in hand; "does not fit" tells whether it is proven.
package placement
