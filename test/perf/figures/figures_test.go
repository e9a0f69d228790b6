package figures

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestASpreadIsShownAsOneNumberWhenItIsOne(t *testing.T) {
	require.Equal(t, "1.00–2.50–4.00", SpreadOf([]float64{4, 1, 2, 3}).Format("%.2f"))
	require.Equal(t, "2", SpreadOf([]float64{2.1, 1.9, 2}).Format("%.0f"))
}

func TestPercentiles(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100 - i)
	}
	require.EqualValues(t, 50, Percentile(hundred, 0.5))
	require.EqualValues(t, 99, Percentile(hundred, 0.99))
	require.Zero(t, Percentile(nil, 0.5))
}

const someRanges = `# What has to hold.
- workload: a
  figure: pods/s
  baseline: Default
  atLeast: 1
- workload: a
  figure: CPU
  baseline: Default
  atMost: 0.8
  measured: {least: 0.1, median: 0.2, most: 0.3}
`

func TestWhatIsOutsideOfItsRangeIsSaid(t *testing.T) {
	file := write(t, someRanges)
	ranges, err := ReadRanges(file)
	require.NoError(t, err)
	rate, cpu := Key{"a", "pods/s", "Default"}, Key{"a", "CPU", "Default"}
	require.Empty(t, Outside(ranges, map[Key]Spread{rate: {1, 1, 1}, cpu: {0.1, 0.8, 2}}))
	require.Equal(t, []string{"a: pods/s to Default is 0.50–0.90–1.20, want at least 1.00", "a: CPU to Default is 0.90, want at most 0.80"},
		Outside(ranges, map[Key]Spread{rate: {0.5, 0.9, 1.2}, cpu: {0.9, 0.9, 0.9}}))
	require.Empty(t, Outside(ranges, nil), "what was not measured is not judged")
}

func TestWhatWasMeasuredIsWrittenBesideTheLimits(t *testing.T) {
	file := write(t, someRanges)
	require.NoError(t, WriteMeasured(file, map[Key]Spread{{"a", "pods/s", "Default"}: {1.001, 1.239, 2}}))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, `# What has to hold.
- workload: a
  figure: pods/s
  baseline: Default
  atLeast: 1
  measured: {least: 1, median: 1.24, most: 2}
- workload: a
  figure: CPU
  baseline: Default
  atMost: 0.8
  measured: {least: 0.1, median: 0.2, most: 0.3}
`, string(text))
}

func TestASectionIsReplacedAndNothingElse(t *testing.T) {
	file := write(t, "before\n<!-- begin x -->\nold\n<!-- end x -->\nafter\n")
	require.NoError(t, WriteSection(file, "x", Table([][]string{{"a", "b"}, {"1", "2"}})))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "before\n<!-- begin x -->\n| a | b |\n|---|---|\n| 1 | 2 |\n<!-- end x -->\nafter\n", string(text))
	require.ErrorContains(t, WriteSection(file, "y", ""), `no section between "<!-- begin y -->"`)
}

func write(t *testing.T, text string) string {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	return file
}
