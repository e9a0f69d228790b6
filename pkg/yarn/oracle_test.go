package yarn

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

// oracleCase is a file and what a real ResourceManager answers: test/yarn records them.
type oracleCase struct {
	Name    string `json:"name"`
	XML     string `json:"xml"`
	Refused string `json:"refused"`
	Answers []struct {
		Queues map[string]map[string][4]int64 `json:"queues"` // path -> label -> least memory, cpu, most memory, cpu
	} `json:"answers"`
}

// oracleSizes are those of test/yarn/Oracle.java: nodes without a label, and with label x.
var oracleSizes = []struct{ rest, labelled Resources }{
	{Resources{v1.ResourceMemory: 102400, v1.ResourceCPU: 100}, Resources{v1.ResourceMemory: 40960, v1.ResourceCPU: 40}},
	{Resources{v1.ResourceMemory: 102400 + 73728 + 511, v1.ResourceCPU: 137}, Resources{v1.ResourceMemory: 40960 + 8192 + 77, v1.ResourceCPU: 53}},
}

func oracle(t *testing.T) (cases []oracleCase) {
	t.Helper()
	file, err := os.Open("testdata/oracle.json.gz")
	require.NoError(t, err)
	defer file.Close()
	zip, err := gzip.NewReader(file)
	require.NoError(t, err)
	decoder := json.NewDecoder(bufio.NewReader(zip))
	for {
		var c oracleCase
		err := decoder.Decode(&c)
		if errors.Is(err, io.EOF) {
			return cases
		}
		require.NoError(t, err)
		cases = append(cases, c)
	}
}

func (c oracleCase) options(step int) Options {
	o := Options{Cluster: oracleSizes[step].rest, LabelKey: "node"}
	if strings.HasSuffix(c.Name, ".label") {
		o.Labels = map[string]Resources{"x": oracleSizes[step].labelled}
	}
	return o
}

// TestQueuesHaveWhatAResourceManagerGivesThem: guarantee and limit that count in the converted tree are those that a real
// ResourceManager reports for the same file, at two sizes of the cluster.
//
// Seen failing when percentages were computed in double precision, and when the weights of siblings were not added up in single.
func TestQueuesHaveWhatAResourceManagerGivesThem(t *testing.T) {
	compared := 0
	for _, c := range oracle(t) {
		if c.Refused != "" {
			continue
		}
		for step, answer := range c.Answers {
			options := c.options(step)
			plan, err := Convert([]byte(c.XML), options)
			require.NoError(t, err, c.Name)
			got := effective(t, plan, options)
			for _, q := range plan.Queues {
				want := answer.Queues[q.Path][q.Label]
				if strings.HasPrefix(c.Name, "amount") {
					want = inRetinue(q, want)
				}
				if diff := cmp.Diff(want, got[q.Name]); diff != "" {
					t.Errorf("%s, size %d, %s %s: (-YARN +Retinue)\n%s", c.Name, step+1, q.Path, q.Label, diff)
				}
				compared++
			}
		}
	}
	t.Logf("%d queues compared", compared)
	require.Greater(t, compared, 2000)
}

// inRetinue is what absolute amounts come to here, where YARN makes something else of them because the cluster is too small: it
// reduces every resource as soon as one is short, and some of them to more than was asked for. Here none is more than was asked for.
func inRetinue(q Queue, want [4]int64) [4]int64 {
	memory, cpu := q.Spec.Guaranteed[v1.ResourceMemory], q.Spec.Guaranteed[v1.ResourceCPU]
	want[0], want[1] = min(want[0], memory.Value()/mebibyte), min(want[1], cpu.Value())
	return want
}

// effective is what counts in the scheduler's own tree: MiB and cores of guarantee and limit, by queue.
func effective(t *testing.T, plan *Plan, options Options) map[string][4]int64 {
	t.Helper()
	var specs []quota.Spec
	for _, q := range plan.Queues {
		specs = append(specs, quota.OfQueue(&v1alpha1.Queue{ObjectMeta: metav1.ObjectMeta{Name: q.Name}, Spec: q.Spec}))
	}
	tree := quota.New(specs)
	pools := quota.Pools(tree)
	capacities := make([]resource.Vector, len(pools))
	nodesOf := make([]Resources, len(pools))
	for i, pool := range pools {
		nodesOf[i] = options.Cluster
		for label, nodes := range options.Labels {
			if pool.Selector != nil && pool.Selector.String() == options.LabelKey+"="+label {
				nodesOf[i] = nodes
			}
		}
		capacities[i] = resource.OfList(v1.ResourceList{
			v1.ResourceCPU: quantity(v1.ResourceCPU, nodesOf[i][v1.ResourceCPU]).Quantity, v1.ResourceMemory: quantity(v1.ResourceMemory, nodesOf[i][v1.ResourceMemory]).Quantity,
		})
	}
	tree.SetCapacity(capacities...)
	specOf := map[string]quota.Spec{}
	for _, spec := range specs {
		specOf[spec.Name] = spec
	}
	found := map[string][4]int64{}
	for _, name := range slices.Sorted(maps.Keys(specOf)) {
		usage, there := tree.Usage(name)
		require.True(t, there)
		values := [4]int64{}
		for i, r := range []v1.ResourceName{v1.ResourceMemory, v1.ResourceCPU} {
			per := int64(1000) // of a core
			if r == v1.ResourceMemory {
				per = mebibyte
			}
			guaranteed, _ := usage.Guaranteed.Of(r)
			values[i] = guaranteed / per
			most := nodesOf[quota.PoolOf(tree, name)][r]
			for at := name; at != ""; at = specOf[at].Parent {
				if limit, limited := specOf[at].Limit.Of(r); limited {
					most = min(most, limit/per)
				}
			}
			values[i+2] = most
		}
		found[name] = values
	}
	return found
}
