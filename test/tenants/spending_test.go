package tenants

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes"

	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/test/cluster"
)

// share is how much of a minute the costly answers for one namespace may take.
const share = 0.1

// frugal shows what the scheduler says of itself: no attempt has cost more than it may, and no namespace has had more than its share when
// it was asked about again.
func frugal(t *testing.T) {
	t.Helper()
	config := shared.RESTConfig()
	config.Host = fmt.Sprintf("https://127.0.0.1:%d", shared.Port(cluster.Scheduler))
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	text, err := client.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	require.NoError(t, err)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	require.NoError(t, err)
	attempts := families["retinue_attempt_work_nodes"].GetMetric()
	require.Len(t, attempts, 1)
	work := attempts[0].GetHistogram()
	within := uint64(0)
	for _, bucket := range work.GetBucket() {
		if bucket.GetUpperBound() <= placement.MostNodes {
			within = max(within, bucket.GetCumulativeCount())
		}
	}
	require.NotZero(t, work.GetSampleCount())
	assert.Equal(t, work.GetSampleCount(), within, "attempts that have cost more than %d filtered nodes", placement.MostNodes)
	ratio := families["retinue_namespace_work_ratio"].GetMetric()
	require.Len(t, ratio, 1)
	assert.LessOrEqual(t, ratio[0].GetGauge().GetValue(), share)
	t.Logf("%d attempts have cost %.0f filtered nodes; a namespace has had %.3f of a minute at most when it was asked about again",
		work.GetSampleCount(), work.GetSampleSum(), ratio[0].GetGauge().GetValue())
}
