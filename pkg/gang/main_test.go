package gang

import (
	"flag"
	"os"
	"testing"
)

// TestMain tries more cases of each property than rapid does by default; -rapid.checks=N on the command line wins.
func TestMain(m *testing.M) {
	_ = flag.Set("rapid.checks", "2000")
	_ = flag.Set("rapid.nofailfile", "true")
	flag.Parse()
	os.Exit(m.Run())
}
