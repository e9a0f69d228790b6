// Package waiting is who waits, why, and when to try again.
//
// A Room holds one Waiter for every gang, and for every pod by itself, that cannot start yet:
//
//	          Put                 Next, Began               Started
//	───────────────▶   new   ───────────────▶   trying   ───────────────▶ gone
//	                             ▲        │                                 ▲
//	           Next, Began       │        │ Failed; Missed                  │ Drop, from
//	        ┌────────────────────┘        ▼                                 │ everywhere
//	        │           ┌── parked for room: its signature has failed ──┐   │
//	        └───────────┤                                               ├───┘
//	                    └── parked by queue: its queue keeps it ────────┘
//
// In which order they are tried, the tree of queues says; the Room says who is worth a try. It knows no clock and no lock:
// its owner passes the time and keeps others out.
//
// # One failure speaks for all of a signature
//
// Waiters of one signature ask nodes for exactly the same, so one failure speaks for all of them. A waiter that was refused for
// something that the signature does not cover, such as a pod's labels that somebody else's anti-affinity refuses, gets a
// signature of its own: its failures speak for nobody else.
//
// # What changed decides who is tried
//
// Changed tells the Room of room that came back, with the most that is free on any node that gained. A signature that has failed
// is due again if one of its pods fits that: if none does, no node that gained is of use to it. It need not be the largest pod:
// the room of a small one may be what lets the large one have the room where the small one was going to be. A due signature is
// tried as soon as what all its pods ask for is free in all. What failed for something else than room is due after any gain, and
// what can never fit after the nodes have changed: a pod by itself only if one that has could hold it, were it empty. Refusals of
// which the Room does not hear when they end are repeated after some seconds.
//
// # Nobody starves behind those who fail
//
// Tries go in passes. In one pass every signature that is due is tried once; one that is due again waits for the next pass, and that
// begins when nobody is left in this one: at once if somebody waits for it, else with whatever happens next. So whoever fits starts
// within one pass, however many before it fail again and again. Within a pass the order is the tree's. Of those who have to rest after
// one another's rehearsals one is put in turn in a pass: of the namespace that has had no time for them for longest, who has not been
// tried for longest.
//
// # Several at once
//
// While a waiter is tried its queue is charged as if it had started, and the next one is let through if it would be next then:
// if its queue lets it in beside those that are being tried, and the nodes have room for all of them in sum. When one fails,
// those let through after it are taken back unless it would be their turn without it as well. How many are let through at
// once doubles with every one that starts and halves with every one that fails.
package waiting
