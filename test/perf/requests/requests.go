// Package requests is what an API server has been asked, by kind.
package requests

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

// Kind is what requests are counted by.
type Kind struct {
	// Verb as the API server's metrics have it: POST, GET, PATCH and so on.
	Verb string
	// Resource, with its subresource: pods/binding.
	Resource string
}

func (k Kind) String() string { return k.Verb + " " + k.Resource }

// Counts are numbers of requests, by kind.
type Counts map[Kind]float64

// Answered are the requests that the API server has answered since it began, but for those of a test, which creates nodes, pods, Services
// and ConfigMaps, and for lists, watches and what names no resource.
func Answered(ctx context.Context, client kubernetes.Interface) (Counts, error) {
	text, err := client.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("metrics of the API server: %w", err)
	}
	return parse(text)
}

const (
	settlePeriod  = time.Second
	settleTimeout = time.Minute
)

// Settled are those answered when none has come for a second. It waits a minute at most.
func Settled(ctx context.Context, client kubernetes.Interface) (counts Counts, err error) {
	err = wait.PollUntilContextTimeout(ctx, settlePeriod, settleTimeout, true, func(ctx context.Context) (bool, error) {
		before := counts
		if counts, err = Answered(ctx, client); err != nil {
			return false, err
		}
		return before != nil && counts.Total() == before.Total(), nil
	})
	return counts, err
}

// ofTests are the kinds that a test asks for, as those do who submit applications.
var ofTests = []Kind{{"POST", "nodes"}, {"POST", "pods"}, {"POST", "configmaps"}, {"POST", "services"}}

func parse(text []byte) (Counts, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("metrics of the API server: %w", err)
	}
	found := Counts{}
	for _, metric := range families["apiserver_request_total"].GetMetric() {
		labels := map[string]string{}
		for _, label := range metric.Label {
			labels[label.GetName()] = label.GetValue()
		}
		kind := Kind{labels["verb"], labels["resource"]}
		if kind.Resource == "" || slices.Contains([]string{"LIST", "WATCH", "CONNECT"}, kind.Verb) {
			continue
		}
		if sub := labels["subresource"]; sub != "" {
			kind.Resource += "/" + sub
		}
		if !slices.Contains(ofTests, kind) {
			found[kind] += metric.GetCounter().GetValue()
		}
	}
	return found, nil
}

// Since is what has been added to earlier counts.
func (c Counts) Since(earlier Counts) Counts {
	added := Counts{}
	for kind, count := range c {
		if count != earlier[kind] {
			added[kind] = count - earlier[kind]
		}
	}
	return added
}

// Total of all kinds.
func (c Counts) Total() (sum float64) {
	for _, count := range c {
		sum += count
	}
	return sum
}

// rare is how many requests per application are too few to be listed.
const rare = 0.01

// Each lists the counts per application, the most frequent kind first, without what is rare.
func (c Counts) Each(applications int) string {
	var parts []string
	for _, kind := range slices.SortedFunc(maps.Keys(c), func(a, b Kind) int {
		return cmp.Or(cmp.Compare(c[b], c[a]), strings.Compare(a.String(), b.String()))
	}) {
		if each := c[kind] / float64(applications); each >= rare {
			parts = append(parts, fmt.Sprintf("%s %.2f", kind, each))
		}
	}
	return strings.Join(parts, ", ")
}

// Table has a row for every kind that is not rare, and one for their sum; the columns are those who asked, with their runs.
func Table(applications int, titles []string, runs map[string][]Counts, format func([]float64) string) [][]string {
	header := []string{"requests per application"}
	kinds := map[Kind]float64{} // kind -> the most of any run, per application
	for _, title := range titles {
		header = append(header, title)
		for _, counts := range runs[title] {
			for kind, count := range counts {
				kinds[kind] = max(kinds[kind], count/float64(applications))
			}
		}
	}
	maps.DeleteFunc(kinds, func(_ Kind, most float64) bool { return most < rare })
	rows := [][]string{header}
	row := func(name string, of func(Counts) float64) {
		cells := []string{name}
		for _, title := range titles {
			var values []float64
			for _, counts := range runs[title] {
				values = append(values, of(counts)/float64(applications))
			}
			cells = append(cells, format(values))
		}
		rows = append(rows, cells)
	}
	for _, kind := range slices.SortedFunc(maps.Keys(kinds), func(a, b Kind) int {
		return cmp.Or(cmp.Compare(kinds[b], kinds[a]), strings.Compare(a.String(), b.String()))
	}) {
		row(kind.String(), func(c Counts) float64 { return c[kind] })
	}
	row("all", Counts.Total)
	return rows
}
