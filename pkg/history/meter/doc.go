// Package meter is what is observed of pods, nodes and Queues, as the store keeps it.
//
// Every object that an informer shows becomes an observation at once, and observations are merged until they are written: what
// cannot be written now is written later, and nothing between is lost. Nothing of the scheduler is asked, and nothing is told to it.
package meter
