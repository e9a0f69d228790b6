package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReturnsAreCountedInTheOrderOfTheSource(t *testing.T) {
	code, err := load("testdata/house", "./...")
	require.NoError(t, err)
	open, err := code.find("Door.Open")
	require.NoError(t, err)

	walk := code.from(open, false)
	require.Equal(t, []stay{
		{"front/door.go", []string{"Door.Open"}},
		{"front/hall.go", []string{"Door.greet", "front.byAge", "Door.again", "Door.greet"}},
		{"front/door.go", []string{"Door.close"}},
		{"front/hall.go", []string{"Door.greet"}},
		{"back/kitchen.go", []string{"back.Cook"}},
	}, walk.stays)
	require.Equal(t, 3, walk.files())
	require.Equal(t, 2, walk.returns())
	require.Equal(t, 5, walk.functions)

	walk = code.from(open, true)
	require.Equal(t, []stay{
		{"back/kitchen.go", []string{"back.Cook"}},
		{"back/cellar.go", []string{"back.fetch"}},
		{"back/kitchen.go", []string{"back.serve"}},
	}, walk.stays[4:])
	require.Equal(t, 3, walk.returns())
}

func TestANameThatNobodyHasIsAnError(t *testing.T) {
	code, err := load("testdata/house", "./...")
	require.NoError(t, err)
	for _, name := range []string{"Door.Shut", "Open", "front.Open"} {
		_, err = code.find(name)
		require.ErrorContains(t, err, name)
	}
	_, err = code.find("front.Door.Open")
	require.NoError(t, err)
}

// TestTheWatchedWalksExist: whoever renames a watched function names it anew.
func TestTheWatchedWalksExist(t *testing.T) {
	code, err := load("../..", "./pkg/...")
	require.NoError(t, err)
	for _, walk := range watched {
		_, err := code.find(walk.from)
		require.NoError(t, err)
	}
}
