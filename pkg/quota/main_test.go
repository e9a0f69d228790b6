package quota

import (
	"flag"
	"os"
	"testing"
)

// TestMain tries more cases of each property than rapid does by default; -rapid.checks=N on the command line wins.
func TestMain(m *testing.M) {
	_ = flag.Set("rapid.checks", "2000")
	_ = flag.Set("rapid.nofailfile", "true")
	// The same cases in every run, so that a change is what makes a test fail; -rapid.seed=0 draws new ones.
	_ = flag.Set("rapid.seed", "20261121")
	flag.Parse()
	os.Exit(m.Run())
}
