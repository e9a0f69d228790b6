package price

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retinue.dev/retinue/pkg/history/store"
)

const list = `
currency: EUR
rates:
- {resource: cpu, price: 0.03}
- {resource: cpu, price: 0.05, from: "2026-11-01"}
- {resource: cpu, class: large, price: 0.1, from: "2026-10-01"}
- {resource: memory, price: 0.004}
- {resource: nvidia.com/gpu, price: 2}
`

func at(day string) int64 {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		panic(err)
	}
	return t.UnixMilli()
}

func TestTheBestRateOfTheTimeCounts(t *testing.T) {
	prices, err := Read([]byte(list))
	require.NoError(t, err)
	const hour = 3600
	for name, test := range map[string]struct {
		row  store.Row
		want float64
	}{
		"since ever":                         {store.Row{Cell: store.Cell{Hour: at("2020-01-01"), Resource: "cpu"}, Sum: store.Sum{Used: 2000 * hour}}, 0.06},
		"the day before another holds":       {store.Row{Cell: store.Cell{Hour: at("2026-11-01") - store.Hour, Resource: "cpu"}, Sum: store.Sum{Used: 1000 * hour}}, 0.03},
		"the latest":                         {store.Row{Cell: store.Cell{Hour: at("2026-11-01"), Class: "small", Resource: "cpu"}, Sum: store.Sum{Used: 1000 * hour}}, 0.05},
		"of the class, although it is older": {store.Row{Cell: store.Cell{Hour: at("2026-11-29"), Class: "large", Resource: "cpu"}, Sum: store.Sum{Used: 1000 * hour}}, 0.1},
		"of all classes, before":             {store.Row{Cell: store.Cell{Hour: at("2026-09-30"), Class: "large", Resource: "cpu"}, Sum: store.Sum{Used: 1000 * hour}}, 0.03},
		"a GiB":                              {store.Row{Cell: store.Cell{Resource: "memory"}, Sum: store.Sum{Used: 1024 * hour}}, 0.004},
		"a piece":                            {store.Row{Cell: store.Cell{Resource: "nvidia.com/gpu"}, Sum: store.Sum{Used: hour}}, 2},
		"what has no rate":                   {store.Row{Cell: store.Cell{Resource: "example.com/fpga"}, Sum: store.Sum{Used: hour}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			test.row.Lost = test.row.Used / 2
			used, lost := prices.Cost(test.row)
			require.InDelta(t, test.want, used, 1e-9)
			require.InDelta(t, test.want/2, lost, 1e-9)
		})
	}
	used, _ := List{}.Cost(store.Row{Cell: store.Cell{Resource: "cpu"}, Sum: store.Sum{Used: 1}})
	require.Zero(t, used)
}

func TestWrongPricesAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		"rates: [{price: 1}]":                                    "rates[0].resource",
		"rates: [{resource: cpu, price: -1}]":                    "rates[0].price: -1",
		"rates: [{resource: cpu, price: .nan}]":                  "",
		"rates: [{resource: cpu, price: 1e10}]":                  "rates[0].price",
		"rates: [{resource: cpu, price: 1, from: yesterday}]":    `"yesterday"`,
		"rates: [{resource: cpu, price: 1, form: '2026-01-01'}]": "form",
		"[1]":                           "",
		strings.Repeat("#", maxBytes+1): "longer",
		"rates: [" + strings.Repeat("{resource: a},", MaxRates+1) + "]": "more than",
	} {
		_, err := Read([]byte(text))
		require.ErrorIs(t, err, ErrList)
		require.ErrorContains(t, err, want)
	}
}
