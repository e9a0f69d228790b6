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
	flag.Parse()
	os.Exit(m.Run())
}
