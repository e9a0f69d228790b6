// Package newcomer is what somebody meets who has just cloned the repository, on a machine that has never seen it.
package newcomer
