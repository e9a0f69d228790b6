// Package property is how the properties of all packages are checked: on as many cases as a package can afford, and on
// the same in every run.
package property

import (
	"flag"
	"os"
	"testing"
)

// Main runs the tests of a package with so many cases for each property; -rapid.checks=N on the command line wins. The cases
// are the same in every run, so that a change is what makes a test fail; -rapid.seed=0 draws new ones. Cases that fail
// leave no files behind. It is all of a TestMain, and panics in a test binary without rapid.
func Main(m *testing.M, checks string) { os.Exit(Run(m, checks)) }

// Run is Main for a package that has something to do after its tests: it returns what to exit with.
func Run(m *testing.M, checks string) int {
	for name, value := range map[string]string{"rapid.checks": checks, "rapid.seed": "20261121", "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	flag.Parse()
	return m.Run()
}
