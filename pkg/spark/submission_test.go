package spark

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestWhatSettingsSayToSparkSubmit(t *testing.T) {
	got, err := ParseSubmission("spark.kubernetes.namespace = etl-prod \nspark.app.name daily\nspark.kubernetes.executor.memoryOverhead=1g\nspark.kubernetes.driver.docker.image=x\nspark.executor.memory=1g\n")
	require.NoError(t, err)
	require.Equal(t, Submission{Namespace: "etl-prod", Name: "daily", Outdated: []Outdated{
		{"spark.kubernetes.driver.docker.image", "use spark.kubernetes.driver.container.image"},
		{"spark.kubernetes.executor.memoryOverhead", "use spark.executor.memoryOverhead"},
	}}, got)
	require.Equal(t, "spark.kubernetes.executor.memoryOverhead is read by no release of Spark, and has no effect: use spark.executor.memoryOverhead", got.Outdated[1].String())
	_, err = ParseSubmission(`a=\u12`)
	require.ErrorContains(t, err, "four hexadecimal digits")
}

// TestNoSettingThatIsReadIsCalledOutdated: the two tables have nothing in common.
func TestNoSettingThatIsReadIsCalledOutdated(t *testing.T) {
	for name := range outdated {
		_, read := find(name)
		require.False(t, read, name)
	}
}

// TestWhatIsWrittenIsReadBack.
func TestWhatIsWrittenIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune("ab .=:#!\\\n\r\t\fé")), 0, 12, -1)
		want := rapid.MapOfN(text, text, 0, 5).Draw(t, "settings")
		got, err := parseJava(PropertiesText(want))
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}
