// Package metric is the list of all metrics that are Retinue's own, and how each of them is made.
package metric

import (
	"slices"
	"strings"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

// Prefix of every name.
const Prefix = "retinue_"

// Family is what is known of a metric before it has a value.
type Family struct {
	Name, Help, Type string
	Labels           []string
}

// families are all that were made. Packages make them when the program starts.
var families []Family

// Families are all of them, by name.
func Families() []Family {
	return slices.SortedFunc(slices.Values(families), func(a, b Family) int { return strings.Compare(a.Name, b.Name) })
}

func list(kind, name, help string, labels []string) string {
	families = append(families, Family{Prefix + name, help, kind, labels})
	return Prefix + name
}

// NewGauge makes a gauge that the scheduler serves.
func NewGauge(name, help string) *metrics.Gauge {
	gauge := metrics.NewGauge(&metrics.GaugeOpts{Name: list("gauge", name, help, nil), Help: help, StabilityLevel: metrics.ALPHA})
	legacyregistry.MustRegister(gauge)
	return gauge
}

// NewGaugeVec makes gauges with labels.
func NewGaugeVec(name, help string, labels ...string) *metrics.GaugeVec {
	gauges := metrics.NewGaugeVec(&metrics.GaugeOpts{Name: list("gauge", name, help, labels), Help: help, StabilityLevel: metrics.ALPHA}, labels)
	legacyregistry.MustRegister(gauges)
	return gauges
}

// NewHistogram makes a histogram.
func NewHistogram(name, help string, buckets []float64) *metrics.Histogram {
	histogram := metrics.NewHistogram(&metrics.HistogramOpts{Name: list("histogram", name, help, nil), Help: help, Buckets: buckets, StabilityLevel: metrics.ALPHA})
	legacyregistry.MustRegister(histogram)
	return histogram
}

// NewHistogramVec makes histograms with labels.
func NewHistogramVec(name, help string, buckets []float64, labels ...string) *metrics.HistogramVec {
	histograms := metrics.NewHistogramVec(
		&metrics.HistogramOpts{Name: list("histogram", name, help, labels), Help: help, Buckets: buckets, StabilityLevel: metrics.ALPHA}, labels)
	legacyregistry.MustRegister(histograms)
	return histograms
}

// Read is a metric whose values a collector reads somewhere when they are asked for.
type Read struct {
	// Desc is for the collector to describe itself by.
	Desc *metrics.Desc
	kind metrics.ValueType
}

// NewRead makes one; a name that ends in _total is a counter's.
func NewRead(name, help string, labels ...string) Read {
	kind, text := metrics.GaugeValue, "gauge"
	if strings.HasSuffix(name, "_total") {
		kind, text = metrics.CounterValue, "counter"
	}
	return Read{metrics.NewDesc(list(text, name, help, labels), help, labels, nil, metrics.ALPHA, ""), kind}
}

// Value is one value, with those of the labels.
func (r Read) Value(value float64, labels ...string) metrics.Metric {
	return metrics.NewLazyConstMetric(r.Desc, r.kind, value, labels...)
}
