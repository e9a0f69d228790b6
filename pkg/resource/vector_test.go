package resource

import (
	"math"
	"math/big"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	"pgregory.net/rapid"
)

// Every property here was seen failing on deliberately broken code; the break is named at the property.

var extendedNames = []v1.ResourceName{"amd.com/gpu", "hugepages-2Mi", "nvidia.com/gpu"}

// vectors draws amounts between low and high; extended resources may be absent.
func vectors(low, high int64) *rapid.Generator[Vector] {
	return rapid.Custom(func(t *rapid.T) Vector {
		amount := rapid.Int64Range(low, high)
		v := Vector{CPU: amount.Draw(t, "cpu"), Memory: amount.Draw(t, "memory"), EphemeralStorage: amount.Draw(t, "storage"), Pods: amount.Draw(t, "pods")}
		for _, name := range extendedNames {
			if value := amount.Draw(t, string(name)); value != 0 && rapid.Bool().Draw(t, "named") {
				v.Extended = append(v.Extended, Amount{name, value})
			}
		}
		return v
	})
}

// Seen failing when mergeExtended ignored its sign where the names differ.
func TestSubUndoesAdd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, w := vectors(-most/2, most/2).Draw(t, "v"), vectors(-most/2, most/2).Draw(t, "w")
		require.True(t, v.Equal(v.Add(w).Sub(w)), "%v + %v − %v", v, w, w)
		require.True(t, v.Add(w).Equal(w.Add(v)))
		require.True(t, v.Sub(v).IsZero())
		require.Equal(t, v.CPU+w.CPU, v.Add(w).CPU)
		for _, name := range extendedNames {
			require.Equal(t, v.Of(name)+w.Of(name), v.Add(w).Of(name))
			require.Equal(t, v.Of(name)-w.Of(name), v.Sub(w).Of(name))
		}
	})
}

// A Vector is a value: arithmetic must not write into the Extended it shares with others.
//
// Seen failing when positive filtered in place.
func TestArithmeticLeavesItsOperandsAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, w := vectors(-5, 5).Draw(t, "v"), vectors(-5, 5).Draw(t, "w")
		beforeV, beforeW := v.clone(), w.clone()
		_, _, _, _, _ = v.Add(w), v.Sub(w), v.Max(w), v.Missing(w), v.Scale(3)
		require.Empty(t, cmp.Diff(beforeV, v))
		require.Empty(t, cmp.Diff(beforeW, w))
	})
}

func (v Vector) clone() Vector {
	v.Extended = append([]Amount(nil), v.Extended...)
	return v
}

// Seen failing when Count started from limit without a look at extended resources, and when Copies rounded to the nearest.
func TestCountIsHowOftenARequestCanBeTaken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		request, free := vectors(-1, 4).Draw(t, "request"), vectors(-2, 20).Draw(t, "free")
		limit := rapid.IntRange(-1, 30).Draw(t, "limit")
		want, rest := 0, free
		for want < limit && request.Fits(rest) {
			rest = rest.Sub(request.positive())
			want++
		}
		require.Equal(t, want, request.Count(free, limit))
	})
}

// Seen failing when the quotient was taken of numbers beyond 2^53, and when the product's high word was ignored.
func TestCopiesIsAnExactQuotientForEveryInt64(t *testing.T) {
	amounts := rapid.OneOf(
		rapid.Int64Range(1, 100), rapid.Int64Range(1, math.MaxInt64),
		rapid.Map(rapid.IntRange(0, 62), func(bit int) int64 { return 1 << bit }),
		rapid.Int64Range(1<<53-3, 1<<53+3),
	)
	rapid.Check(t, func(t *rapid.T) {
		request, limit := amounts.Draw(t, "request"), rapid.IntRange(0, math.MaxInt).Draw(t, "limit")
		free := rapid.OneOf(amounts, rapid.Custom(func(t *rapid.T) int64 {
			n := rapid.Int64Range(1, math.MaxInt64/request).Draw(t, "n")
			return max(n*request-rapid.Int64Range(0, 1).Draw(t, "less"), 0)
		}), rapid.Int64Range(math.MinInt64, 0)).Draw(t, "free")
		require.Equal(t, min(int64(limit), max(free, 0)/request), int64(Copies(request, free, limit)))
	})
}

// Seen failing when Missing kept the overbooked amount of a resource the request does not name.
func TestNothingIsMissingExactlyWhenARequestFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		request, free := vectors(-1, 4).Draw(t, "request"), vectors(-3, 6).Draw(t, "free")
		missing := request.Missing(free)
		require.Equal(t, request.Fits(free), missing.IsZero(), "missing %v", missing)
		require.True(t, request.Fits(free.Add(missing)), "what was missing is enough")
		require.Equal(t, request.Count(free, 1) == 1, request.Fits(free))
	})
}

// Seen failing when Max took the larger Vector instead of the larger amounts.
func TestMaxIsTheLargerAmountOfEachResource(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, w := vectors(-9, 9).Draw(t, "v"), vectors(-9, 9).Draw(t, "w")
		for _, name := range append([]v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory, v1.ResourceEphemeralStorage, v1.ResourcePods}, extendedNames...) {
			require.Equal(t, max(v.Of(name), w.Of(name)), v.Max(w).Of(name), "%s", name)
		}
	})
}

// Seen failing when OfList read cpu in whole cores.
func TestListIsTheInverseOfOfList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := vectors(0, Cap).Draw(t, "v")
		v.Pods = 0 // List leaves it out
		list := v.List()
		require.True(t, v.Equal(OfList(list)), "%v became %v", v, OfList(list))
		for name, quantity := range list {
			reparsed := apiresource.MustParse(quantity.String())
			require.Zero(t, quantity.Cmp(reparsed), "%s %s is canonical", name, &quantity)
		}
	})
}

// Seen failing when amounts were converted before they were compared with Cap: 10E became zero.
func TestOfListCapsEveryQuantity(t *testing.T) {
	tests := map[string]struct {
		quantity string
		milli    int64 // as cpu
		whole    int64 // as anything else
	}{
		"zero":                                 {"0", 0, 0},
		"a fraction is rounded up":             {"0.0001", 1, 1},
		"a negative amount is nothing":         {"-5", 0, 0},
		"a hugely negative one as well":        {"-1e30", 0, 0},
		"just the cap in whole units":          {"70368744177664", Cap, Cap},
		"below the cap in whole units":         {"70368744177663", Cap, Cap - 1},
		"below the cap in thousandths":         {"70368744177663m", Cap - 1, 70368744178},
		"ten exa, which Value makes zero":      {"10E", Cap, Cap},
		"the largest int64":                    {"9223372036854775807", Cap, Cap},
		"7Ei, which MilliValue makes negative": {"7Ei", Cap, Cap},
		"beyond any integer":                   {"1e100", Cap, Cap},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			quantity := apiresource.MustParse(tt.quantity)
			got := OfList(v1.ResourceList{
				v1.ResourceCPU: quantity, v1.ResourceMemory: quantity, v1.ResourceEphemeralStorage: quantity, v1.ResourcePods: quantity, "nvidia.com/gpu": quantity,
			})
			want := Vector{CPU: tt.milli, Memory: tt.whole, EphemeralStorage: tt.whole, Pods: tt.whole}
			if tt.whole != 0 {
				want.Extended = []Amount{{"nvidia.com/gpu", tt.whole}}
			}
			assert.Empty(t, cmp.Diff(want, got))
		})
	}
}

// Seen failing when plus wrapped around or reached MinInt64, and when times ignored the product's high word.
func TestSumsAndProductsStopInsteadOfWrappingAround(t *testing.T) {
	numbers := rapid.OneOf(
		rapid.Int64Range(-math.MaxInt64, math.MaxInt64),
		rapid.Int64Range(-3, 3),
		rapid.SampledFrom([]int64{-math.MaxInt64, -most, -Cap, Cap, most, math.MaxInt64}),
	)
	within := func(b *big.Int, limit int64) int64 {
		switch {
		case b.Cmp(big.NewInt(limit)) > 0:
			return limit
		case b.Cmp(big.NewInt(-limit)) < 0:
			return -limit
		default:
			return b.Int64()
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := numbers.Draw(t, "a"), numbers.Draw(t, "b")
		x, y := big.NewInt(a), big.NewInt(b)
		require.Equal(t, within(new(big.Int).Add(x, y), math.MaxInt64), plus(a, b))
		require.Equal(t, within(new(big.Int).Mul(x, y), most), times(a, b))
	})
}

func TestScaleMultipliesEveryAmount(t *testing.T) {
	v := Vector{CPU: 1500, Memory: 3, EphemeralStorage: 5, Pods: 1, Extended: []Amount{{"nvidia.com/gpu", 2}}}
	want := Vector{CPU: 6000, Memory: 12, EphemeralStorage: 20, Pods: 4, Extended: []Amount{{"nvidia.com/gpu", 8}}}
	assert.Empty(t, cmp.Diff(want, v.Scale(4)))
	assert.True(t, v.Scale(0).IsZero())
	assert.True(t, v.Scale(-1).Add(v).IsZero())
	assert.Equal(t, most, Vector{Memory: Cap}.Scale(math.MaxInt).Memory)
}

func TestStringNamesWhatIsThere(t *testing.T) {
	tests := map[string]struct {
		vector Vector
		want   string
	}{
		"nothing":                         {Vector{}, "nothing"},
		"canonical quantities":            {Vector{CPU: 1500, Memory: 9011 << 20, Pods: 1}, "cpu 1500m, memory 9011Mi"},
		"extended resources":              {Vector{CPU: 4000, Extended: []Amount{{"hugepages-2Mi", 4 << 20}, {"nvidia.com/gpu", 1}}}, "cpu 4, hugepages-2Mi 4Mi, nvidia.com/gpu 1"},
		"pods when there is nothing else": {Vector{Pods: 3}, "pods 3"},
		"overbooked":                      {Vector{CPU: -500}, "cpu -500m"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { assert.Equal(t, tt.want, tt.vector.String()) })
	}
}

func TestOfPodFollowsTheSchedulersRule(t *testing.T) {
	requests := func(cpu, memory string) v1.ResourceRequirements {
		return v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: apiresource.MustParse(cpu), v1.ResourceMemory: apiresource.MustParse(memory)}}
	}
	always := v1.ContainerRestartPolicyAlways
	pod := &v1.Pod{Spec: v1.PodSpec{
		InitContainers: []v1.Container{
			{Name: "sidecar", RestartPolicy: &always, Resources: requests("100m", "100Mi")},
			{Name: "init", Resources: requests("3", "100Mi")},
		},
		Containers: []v1.Container{{Name: "main", Resources: requests("1", "1Gi")}, {Name: "second", Resources: requests("1", "1Gi")}},
		Overhead:   v1.ResourceList{v1.ResourceCPU: apiresource.MustParse("250m")},
	}}
	// cpu: the init container beside the sidecar is larger than both containers beside it.
	want := Vector{CPU: 3100 + 250, Memory: 2148 << 20, Pods: 1}
	assert.Empty(t, cmp.Diff(want, OfPod(pod)))
}

// TestWhatIsAskedForInAllCanBeTakenOffAgain: a queue is charged for what is tried as if it had started.
//
// Seen failing without the bound: of 17 × 4 EiB nothing came back but −9.2e18.
func TestWhatIsAskedForInAllCanBeTakenOffAgain(t *testing.T) {
	asked := Vector{Memory: Cap, Extended: []Amount{{"example.com/device", Cap}}}.Scale(1 << 20).Bounded()
	sum := Vector{Memory: 1 << 54}
	for range 64 {
		sum = sum.Add(asked)
	}
	for range 64 {
		sum = sum.Sub(asked)
	}
	if !sum.Equal(Vector{Memory: 1 << 54}) {
		t.Errorf("%s is left", sum)
	}
	if asked.Memory <= LimitCap {
		t.Errorf("%d is within the largest limit", asked.Memory)
	}
}
