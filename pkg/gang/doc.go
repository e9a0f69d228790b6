// Package gang is what a gang consists of and how it lives, from the first sight of its leader to its end.
//
// A gang moves through these phases; what moves it is an Event handed to Gang.Step:
//
//	            Defined               Admitted              Seated
//	Forming ──────────────▶ Waiting ────────────▶ Reserved ────────▶ Running
//	   │ ▲                     ▲                     │                  │
//	   │ └─ Defined            └───── Unseated ──────┘                  │
//	   ▼  (Invalid → Waiting)                                           │
//	Invalid                                                             │
//	                                                                    │
//	any phase ─────────────────────────── Ended ──────────────────▶   Done
//
// A gang that runs may lose its open slots (Released) and have them back (Restored).
//
// Slots exist in Reserved and Running only. A worker that is placed claims a slot; what the slot held for it is then
// held by the worker's own pod. Every change of what slots hold comes back from Step as a list of Changes, so that
// whoever keeps the sum per node can follow without looking into the gang.
package gang
