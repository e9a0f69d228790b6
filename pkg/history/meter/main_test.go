package meter

import (
	"os"
	"testing"

	"retinue.dev/retinue/test/postgres"
	"retinue.dev/retinue/test/property"
)

func TestMain(m *testing.M) {
	code := property.Run(m, "30") // every case is an hour or two of a cluster, written to a real database
	postgres.Stop()
	os.Exit(code)
}
