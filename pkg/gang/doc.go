// Package gang is what a gang consists of and how it lives, from the first sight of its leader to its end.
package gang
