package view

import (
	"testing"

	"retinue.dev/retinue/test/property"
)

func TestMain(m *testing.M) { property.Main(m, "200") }
