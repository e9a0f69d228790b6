// Package scaleup is what is asked of an autoscaler for those who lack room on the nodes as they are: whose turn it is to ask, for how
// long, and which pods are to be counted that do not exist yet.
//
// A gang that waits goes this way, if its queue lets it in:
//
//	         Lacks                due                     has not come in Timeout
//	waits ──────────▶ a Need ──────────▶ a Request is open ──────────▶ it rests, and is a Need again
//	                     │                      │                        after a pause that grows
//	                     └────── it starts, ends, or waits for something else ───────▶ nothing is known of it
//
// What is asked for is what is missing: the autoscaler counts the leader, which is a pending pod, by itself, and takes off what is free
// on the nodes that exist. So the workers are asked for, all of them, and nobody whose pods exist already.
package scaleup
