// Package placement is the question whether a whole gang fits on the nodes, and where: all or nothing.
package placement
