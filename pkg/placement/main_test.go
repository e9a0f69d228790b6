package placement_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain has every property checked on more cases than rapid does by itself; they are small and cheap.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "2000"); err != nil {
		panic(err)
	}
	// The same cases in every run, so that a change is what makes a test fail; -rapid.seed=0 draws new ones.
	if err := flag.Set("rapid.seed", "20261121"); err != nil {
		panic(err)
	}
	flag.Parse()
	os.Exit(m.Run())
}
