package v1alpha1

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestArgumentsThatAreLeftOutHaveDefaults(t *testing.T) {
	for name, raw := range map[string]string{"nothing": "", "an empty object": "{}", "kind and version alone": "apiVersion: retinue.dev/v1alpha1\nkind: RetinueArgs"} {
		t.Run(name, func(t *testing.T) {
			args, err := DecodeArgs([]byte(raw))
			require.NoError(t, err)
			require.Equal(t, Pack, args.Placement)
			require.Equal(t, "topology.kubernetes.io/zone", args.TopologyKey)
			require.Equal(t, LikeDriver, args.PredictAdmission)
			require.Empty(t, args.DefaultLimit)
			require.Equal(t, TellOwn, args.Tell)
			require.Equal(t, time.Minute, args.DefinitionTimeout.Duration)
			require.Equal(t, 5*time.Minute, args.UnclaimedSlotTimeout.Duration)
			require.Equal(t, 15*time.Minute, args.LeaderReadyTimeout.Duration)
		})
	}
}

func TestArgumentsAreTakenAsWritten(t *testing.T) {
	args, err := DecodeArgs([]byte(`{"placement":"SingleZone","topologyKey":"example.org/rack","definitionTimeout":"90s","unclaimedSlotTimeout":"1h"}`))
	require.NoError(t, err)
	require.Equal(t, SingleZone, args.Placement)
	require.Equal(t, "example.org/rack", args.TopologyKey)
	require.Equal(t, 90*time.Second, args.DefinitionTimeout.Duration)
	require.Equal(t, time.Hour, args.UnclaimedSlotTimeout.Duration)
}

func TestWrongArgumentsAreNamedWithTheirValue(t *testing.T) {
	tests := map[string]struct {
		raw  string
		want []string // all of them stand in the message
	}{
		"an unknown field":         {`{"placment":"Pack"}`, []string{"placment", `"Pack"`}},
		"two unknown fields":       {`{"a":1,"b":"x"}`, []string{"a: Invalid value: 1", `b: Invalid value: "x"`}},
		"an unknown placement":     {`{"placement":"Packed"}`, []string{"placement", `"Packed"`, `"Pack"`}},
		"an unknown prediction":    {`{"predictAdmission":"Guess"}`, []string{"predictAdmission", `"Guess"`, `"DryRun"`}},
		"a negative limit":         {`{"defaultLimit":{"cpu":-1}}`, []string{"defaultLimit[cpu]", `"-1"`}},
		"a topology key of spaces": {`{"topologyKey":"a b"}`, []string{"topologyKey", `"a b"`}},
		"telling everything":       {`{"tell":"all"}`, []string{"tell", `"all"`, `"names"`}},
		"a timeout of zero":        {`{"definitionTimeout":"0s"}`, []string{"definitionTimeout", `"0s"`}},
		"a negative timeout":       {`{"unclaimedSlotTimeout":"-1m"}`, []string{"unclaimedSlotTimeout", `"-1m0s"`}},
		"a leader without time":    {`{"leaderReadyTimeout":"0s"}`, []string{"leaderReadyTimeout", `"0s"`}},
		"a timeout without unit":   {`{"unclaimedSlotTimeout":"5"}`, []string{`"5"`}},
		"another kind":             {`{"kind":"NodeResourcesFitArgs"}`, []string{"kind", `"NodeResourcesFitArgs"`}},
		"another version":          {`{"apiVersion":"retinue.dev/v9"}`, []string{"apiVersion", `"retinue.dev/v9"`}},
		"several at once":          {`{"placement":"X","definitionTimeout":"-1s"}`, []string{`"X"`, `"-1s"`}},
		"another scale-up":         {`{"scaleUp":{"mode":"Buffers"}}`, []string{"scaleUp.mode", `"Buffers"`, `"CapacityBuffer"`, `"Placeholders"`}},
		"too many placeholders":    {`{"scaleUp":{"placeholders":20001,"namespace":"a_b"}}`, []string{"scaleUp.placeholders: Invalid value: 20001", `scaleUp.namespace: Invalid value: "a_b"`}},
		"another order":            {`{"scaleUp":{"order":"Both"}}`, []string{"scaleUp.order", `"Both"`, `"ReclaimFirst"`, `"ScaleUpFirst"`}},
		"no time to scale up":      {`{"scaleUp":{"timeout":"0s"}}`, []string{"scaleUp.timeout", `"0s"`}},
		"no gang to scale up for":  {`{"scaleUp":{"gangs":0,"gangsPerQueue":1001}}`, []string{"scaleUp.gangs: Invalid value: 0", "scaleUp.gangsPerQueue: Invalid value: 1001"}},
		"a field of scale-up":      {`{"scaleUp":{"delay":"1s"}}`, []string{"delay"}},
		"no object":                {`[1]`, []string{"RetinueArgs"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeArgs([]byte(test.raw))
			require.Error(t, err)
			for _, want := range test.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

func FuzzDecodeArgs(f *testing.F) {
	f.Add([]byte(`{"placement":"Pack"}`))
	f.Add([]byte("topologyKey: {}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if args, err := DecodeArgs(raw); err == nil {
			require.Empty(t, args.Validate())
		}
	})
}
