package resource

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatIsMissingIsCountedAgainstTheLimitOrWhatIsFree(t *testing.T) {
	for name, test := range map[string]struct {
		figure Figure
		want   int64
	}{
		"nothing is known":            {Figure{Need: 5}, 0},
		"more than the limit":         {Figure{Need: 5, Limit: new(int64(3))}, 2},
		"more than is left of it":     {Figure{Need: 5, Used: new(int64(9)), Limit: new(int64(10))}, 4},
		"a limit that is passed":      {Figure{Need: 1, Used: new(int64(12)), Limit: new(int64(10))}, 3},
		"within the limit":            {Figure{Need: 1, Used: new(int64(1)), Limit: new(int64(10))}, 0},
		"more than is free":           {Figure{Need: 24, Free: new(int64(20))}, 4},
		"enough is free, in pieces":   {Figure{Need: 24, Free: new(int64(30))}, 0},
		"more is asked for than fits": {Figure{Need: 1 << 62, Free: new(int64(0))}, 1 << 62},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, test.figure.Short()) })
	}
}
