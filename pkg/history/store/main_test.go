package store

import (
	"os"
	"testing"

	"retinue.dev/retinue/test/postgres"
	"retinue.dev/retinue/test/property"
)

func TestMain(m *testing.M) {
	code := property.Run(m, "100") // every case of a property that writes is some transactions of a real database
	postgres.Stop()
	os.Exit(code)
}
