package arch_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
)

// TestTheReadmeNamesEveryArgument of the plugin, in its table.
func TestTheReadmeNamesEveryArgument(t *testing.T) {
	page, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	arguments := reflect.TypeFor[v1alpha1.RetinueArgs]()
	for i := range arguments.NumField() {
		if name, _, _ := strings.Cut(arguments.Field(i).Tag.Get("json"), ","); name != "" {
			require.Contains(t, string(page), "\n| `"+name+"` |")
		}
	}
}
