package yarn

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/resource"
)

// Resources are amounts as YARN counts them: MiB of memory, whole vcores (cpu), and whole ones of everything else. What is not
// listed is zero.
type Resources map[v1.ResourceName]int64

const mebibyte = 1 << 20

// MaxResources are the most resources that a cluster is told to have.
const MaxResources = 16

// ParseResources reads cpu=100,memory=400Gi. Parts of a core and of a MiB are left out, as YARN counts none.
func ParseResources(text string) (Resources, error) {
	amounts := Resources{}
	for _, part := range strings.Split(text, ",") {
		key, value, found := strings.Cut(part, "=")
		name := v1.ResourceName(strings.TrimSpace(key))
		if !found || name == "" {
			return nil, fmt.Errorf("%s: want NAME=AMOUNT", shown(part))
		}
		quantity, err := resource.Parse(strings.TrimSpace(value))
		if err != nil || quantity.Sign() < 0 {
			return nil, fmt.Errorf("%s: %s is no amount", name, shown(value))
		}
		amount := quantity.Value()
		switch {
		case name == v1.ResourceMemory:
			amount /= mebibyte
		case name == v1.ResourceCPU:
			amount = quantity.MilliValue() / 1000
		}
		if _, twice := amounts[name]; twice {
			return nil, fmt.Errorf("%s is there twice", name)
		}
		amounts[name] = amount
	}
	if len(amounts) > MaxResources {
		return nil, fmt.Errorf("%d resources: at most %d", len(amounts), MaxResources)
	}
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
		if amounts[name] <= 0 {
			return nil, fmt.Errorf("%s is missing, or less than one", name)
		}
	}
	return amounts, nil
}

// names in their order.
func (r Resources) names() []v1.ResourceName { return slices.Sorted(maps.Keys(r)) }

func (r Resources) none() bool {
	for _, amount := range r {
		if amount != 0 {
			return false
		}
	}
	return true
}

// part of everything, rounded down; the product is that of double precision, of a fraction that may be a single.
func (r Resources) part(fraction float64) Resources {
	parts := make(Resources, len(r))
	for name, amount := range r {
		parts[name] = share(amount, fraction)
	}
	return parts
}

// share of an amount, rounded down and never more than an int64 holds.
func share(amount int64, fraction float64) int64 {
	product := float64(amount) * fraction
	if product >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(product)
}

// calculator compares resources.
type calculator struct {
	// dominant tells whether the largest share of the cluster counts, and not memory alone.
	dominant bool
}

// compare is below zero if a is less than b, measured by the cluster.
func (c calculator) compare(cluster, a, b Resources) int {
	if !c.dominant {
		return cmp.Compare(a[v1.ResourceMemory], b[v1.ResourceMemory])
	}
	shares := func(r Resources) []float64 {
		var all []float64
		for _, name := range cluster.names() {
			if cluster[name] > 0 {
				all = append(all, float64(r[name])/float64(cluster[name]))
			}
		}
		slices.SortFunc(all, func(x, y float64) int { return cmp.Compare(y, x) })
		return all
	}
	return slices.Compare(shares(a), shares(b))
}

// quantity of a resource as a manifest says it.
func quantity(name v1.ResourceName, amount int64) v1alpha1.Amount {
	if name != v1.ResourceMemory {
		return v1alpha1.Amount{Quantity: *apiresource.NewQuantity(amount, apiresource.DecimalSI)}
	}
	if amount > math.MaxInt64/mebibyte {
		amount = math.MaxInt64 / mebibyte
	}
	return v1alpha1.Amount{Quantity: *apiresource.NewQuantity(amount*mebibyte, apiresource.BinarySI)}
}

// amounts of a manifest.
func (r Resources) amounts() v1alpha1.Amounts {
	if len(r) == 0 {
		return nil
	}
	list := v1alpha1.Amounts{}
	for name, amount := range r {
		list[name] = quantity(name, amount)
	}
	return list
}

// absolute is how the CapacityScheduler recognises an absolute amount.
var absolute = regexp.MustCompile(`^\[[\w.,\-_= /]+\]$`)

var amountWithUnit = regexp.MustCompile(`^(\d+)([a-zA-Z]*)$`)

// units -> how many of the smallest unit, in thousandths.
var units = map[string]float64{
	"p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
	"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50,
}

// parseAbsolute reads [memory=10240,vcores=12]. Names that Kubernetes has no resource of are returned as strange.
func parseAbsolute(text string) (amounts Resources, strange []string, err error) {
	amounts = Resources{}
	for _, part := range strings.Split(strings.Trim(text, "[]"), ",") {
		key, value, found := strings.Cut(part, "=")
		match := amountWithUnit.FindStringSubmatch(strings.TrimSpace(value))
		if !found || match == nil {
			return nil, nil, fmt.Errorf("%s: want NAME=NUMBER", shown(part))
		}
		number, err := strconv.ParseInt(match[1], 10, 64)
		if err != nil {
			return nil, nil, fmt.Errorf("%s is too large", shown(part))
		}
		factor, known := units[match[2]]
		if !known {
			return nil, nil, fmt.Errorf("%s: %s is no unit", shown(part), shown(match[2]))
		}
		name, known := resourceNamed(strings.TrimSpace(key))
		if !known {
			strange = append(strange, strings.TrimSpace(key))
			continue
		}
		if match[2] != "" {
			number = share(number, factor/mebibyte)
		}
		amounts[name] = number
	}
	return amounts, strange, nil
}

// gpu is what YARN's GPUs are called here, unless the manifests are changed.
const gpu v1.ResourceName = "nvidia.com/gpu"

// resourceNamed is the resource that YARN calls so; false means that there is none.
func resourceNamed(name string) (v1.ResourceName, bool) {
	switch name {
	case "memory", "memory-mb":
		return v1.ResourceMemory, true
	case "vcores":
		return v1.ResourceCPU, true
	case "yarn.io/gpu":
		return gpu, true
	}
	domain, rest, found := strings.Cut(name, "/")
	if !found || domain == "" || rest == "" || domain == "yarn.io" {
		return "", false
	}
	return v1.ResourceName(name), true
}

// Percentages stand beside amounts as comments, so that Update can compute these anew.
const (
	ofCluster = "of the cluster"
	ofLabel   = "of the nodes with label "
	asDouble  = ", in double precision"
)

// percentage is the shortest number that says exactly this fraction: of single precision, or of double.
func percentage(fraction float64, double bool) string {
	for digits := 1; digits < 17; digits++ {
		text := strconv.FormatFloat(fraction*100, 'g', digits, 64)
		if back, err := fractionOf(text, double); err == nil && back == fraction {
			if plain, err := strconv.ParseFloat(text, 64); err == nil {
				return strconv.FormatFloat(plain, 'f', -1, 64)
			}
		}
	}
	return strconv.FormatFloat(fraction*100, 'f', -1, 64)
}

// fractionOf is the inverse.
func fractionOf(percentage string, double bool) (float64, error) {
	percent, err := strconv.ParseFloat(percentage, 64)
	if err != nil || math.IsNaN(percent) || percent < 0 {
		return 0, fmt.Errorf("%s is no percentage", shown(percentage))
	}
	if double {
		return percent / 100, nil
	}
	return float64(float32(percent / 100)), nil
}

// comment beside an amount: which part of what it is.
func comment(fraction float64, double bool, label string) string {
	text := percentage(fraction, double) + "% " + ofCluster
	if label != "" {
		text = percentage(fraction, double) + "% " + ofLabel + label
	}
	if double {
		text += asDouble
	}
	return text
}
