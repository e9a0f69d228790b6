package plugin

import (
	"testing"
	"time"

	"retinue.dev/retinue/test/property"
)

// clockStart is when time starts in a bubble.
var clockStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestMain(m *testing.M) { property.Main(m, "1000") }
