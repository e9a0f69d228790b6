// Package price is what usage costs: rates by resource and node class, each from a day on, and also for what was used before they
// were written down.
package price

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"retinue.dev/retinue/pkg/history/store"
)

// List of rates. The zero List has no prices.
type List struct {
	// Currency is only shown.
	Currency string `json:"currency,omitempty"`
	// Rates in any order. Of those that hold for a resource at a time, one of the node's class goes before one of all classes, and
	// the latest before others.
	Rates []Rate `json:"rates"`
}

// Rate is the price of one resource.
type Rate struct {
	// From is the first day, such as 2026-11-29, in UTC. Empty means since ever.
	From string `json:"from,omitempty"`
	// Class of nodes; empty means all that have no rate of their own.
	Class string `json:"class,omitempty"`
	// Resource such as cpu, memory or nvidia.com/gpu.
	Resource string `json:"resource"`
	// Price of one hour of one core, one GiB, or one piece. 0 to MaxPrice.
	Price float64 `json:"price"`

	from int64 // ms since 1970
}

const (
	// MaxPrice bounds a rate, so that no cost is infinite.
	MaxPrice = 1e9
	// MaxRates is how many rates a list may have: every sum is compared with those of its resource.
	MaxRates = 10_000
	// maxBytes is how long a list may be.
	maxBytes = 1 << 20
)

// ErrList is returned for a list that is not one.
var ErrList = errors.New("not a list of prices")

// Read reads a list as YAML or JSON. A field that is not known is an error.
func Read(text []byte) (List, error) {
	var list List
	if len(text) > maxBytes {
		return List{}, fmt.Errorf("%w: longer than %d bytes", ErrList, maxBytes)
	}
	if err := yaml.UnmarshalStrict(text, &list); err != nil {
		return List{}, fmt.Errorf("%w: %w", ErrList, err)
	}
	if len(list.Rates) > MaxRates {
		return List{}, fmt.Errorf("%w: rates: %d are more than %d", ErrList, len(list.Rates), MaxRates)
	}
	for i := range list.Rates {
		rate := &list.Rates[i]
		if rate.Resource == "" {
			return List{}, fmt.Errorf("%w: rates[%d].resource: required", ErrList, i)
		}
		if math.IsNaN(rate.Price) || rate.Price < 0 || rate.Price > MaxPrice {
			return List{}, fmt.Errorf("%w: rates[%d].price: %v is not between 0 and %g", ErrList, i, rate.Price, float64(MaxPrice))
		}
		rate.from = math.MinInt64
		if rate.From != "" {
			day, err := time.Parse(time.DateOnly, rate.From)
			if err != nil {
				return List{}, fmt.Errorf("%w: rates[%d].from: %q is no day such as 2026-11-29", ErrList, i, rate.From)
			}
			rate.from = day.UnixMilli()
		}
	}
	// The best first.
	slices.SortStableFunc(list.Rates, func(a, b Rate) int {
		return cmp.Or(cmp.Compare(a.Resource, b.Resource), cmp.Compare(bit(a.Class == ""), bit(b.Class == "")), cmp.Compare(b.from, a.from))
	})
	return list, nil
}

func bit(is bool) int {
	if is {
		return 1
	}
	return 0
}

// Cost of what a sum says was used, and of the part that was lost. Without a rate it costs nothing.
func (l List) Cost(row store.Row) (used, lost float64) {
	at, _ := slices.BinarySearchFunc(l.Rates, row.Resource, func(rate Rate, resource string) int { return cmp.Compare(rate.Resource, resource) })
	for ; at < len(l.Rates) && l.Rates[at].Resource == row.Resource; at++ {
		if rate := &l.Rates[at]; (rate.Class == "" || rate.Class == row.Class) && rate.from <= row.Hour {
			perUnit := rate.Price / 3600 / perHour(row.Resource)
			return float64(row.Used) * perUnit, float64(row.Lost) * perUnit
		}
	}
	return 0, 0
}

// perHour is how many of the store's units are one of what has a price.
func perHour(resource string) float64 {
	switch {
	case resource == store.CPU:
		return 1000 // millicores
	case resource == store.Memory, resource == "ephemeral-storage", strings.HasPrefix(resource, "hugepages-"):
		return 1024 // MiB
	default:
		return 1
	}
}
