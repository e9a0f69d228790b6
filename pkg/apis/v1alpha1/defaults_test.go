package v1alpha1

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// TestThePageOfQueuesTellsWhatEveryFieldIsWithoutBeingWritten, and of those that have a default in the definition, just that.
//
// Seen failing when defaults stood in the definition only.
func TestThePageOfQueuesTellsWhatEveryFieldIsWithoutBeingWritten(t *testing.T) {
	text, err := os.ReadFile("../../../manifests/crd/retinue.dev_queues.yaml")
	require.NoError(t, err)
	var definition apiextensionsv1.CustomResourceDefinition
	require.NoError(t, yaml.Unmarshal(text, &definition))
	page, err := os.ReadFile("../../../docs/queues.md")
	require.NoError(t, err)
	_, table, found := strings.Cut(string(page), "| field | without it |\n|---|---|\n")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n\n")
	without := map[string]string{} // field -> what it is
	for line := range strings.Lines(table) {
		cells := strings.Split(line, " | ")
		require.Len(t, cells, 2, line)
		for _, field := range strings.Split(strings.TrimPrefix(cells[0], "| "), ", ") {
			without[strings.Trim(field, "`")] = cells[1]
		}
	}
	fields := map[string]*apiextensionsv1.JSON{} // field -> its default, or nil
	var walk func(string, apiextensionsv1.JSONSchemaProps)
	walk = func(at string, schema apiextensionsv1.JSONSchemaProps) {
		for name, field := range schema.Properties {
			if len(field.Properties) == 0 || strings.HasSuffix(name, "Selector") {
				fields[at+name] = field.Default
				continue
			}
			walk(at+name+".", field)
		}
	}
	walk("", definition.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"])
	require.Greater(t, len(fields), 25)
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		require.Contains(t, without, field)
		if fields[field] == nil {
			require.NotContains(t, without[field], "`", "%s has no default", field)
			continue
		}
		var value any
		require.NoError(t, json.Unmarshal(fields[field].Raw, &value))
		written := strings.Trim(string(fields[field].Raw), `"`)
		require.True(t, strings.HasPrefix(without[field], "`"+written+"`"), "%s is %s by default, and the page says %s", field, written, without[field])
	}
	for field := range without {
		_, exists := fields[field]
		require.True(t, exists || field == "perNamespace", "no field %s", field)
	}
}
