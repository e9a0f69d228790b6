// Package quota is the arithmetic of queues: what each may use, who is next, and who has to give back.
//
// Queues form a tree. A queue has a guarantee, which is its own whenever it wants it, and a limit, which it never exceeds.
// What others leave of their guarantees is lent: first to nobody's harm, and returned as gangs end or by Choose.
//
//	used ──▶ guaranteed ──▶ limit
//	   own         borrowed       waits
//
// Everything hangs off one Tree, which whoever owns it changes step by step:
//
//   - New builds it from Specs; wrong ones yield Problems and never an error, and a rule says what happens meanwhile.
//   - Charge and Release keep the running sums of a queue and of all above it.
//   - Fits answers whether a gang may start, with numbers when it may not.
//   - Push, Next, Park and Remove keep those who wait in turn.
//   - Shares is the ideal: what everybody would hold if all could be divided at will.
//   - Choose selects what to take back.
//
// All numbers are integers, in the units of resource.Vector, and fractions are compared by their cross products, so that
// the order of queues is the same on every machine and no rounding can make a circle of it.
package quota
