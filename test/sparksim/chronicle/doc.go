// Package chronicle is a record of what anybody could see of Spark applications through the API, from the first moment.
//
// It judges every scheduler by the same two rules, which hold at every moment:
//
//   - No gang is half-started: while a driver holds a node, no executor of it is told that there is no room, unless there
//     are others for all its slots, or a node has gone on which the gang had something.
//   - No node is overbooked: the pods bound to it ask for no more than it has.
//
// Of Retinue's reservations it knows only how many slots each driver had when it was bound.
package chronicle
