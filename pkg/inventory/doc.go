// Package inventory is the nodes of the cluster: what each offers, what is taken of it, and what an event changed.
//
// Nodes is the table, for one writer. Readers that need many nodes at once, such as the filters of one scheduling cycle,
// take a View: it never changes. What nodes would have if something were otherwise is a View as well: Empty, or With more
// room on some of them.
package inventory
