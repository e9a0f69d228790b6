package web

import (
	"cmp"
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strings"
	"time"

	"retinue.dev/retinue/pkg/history/store"
)

// functions of the pages. All of them return text or numbers, which the templates escape.
var functions = template.FuncMap{
	"refusal":  func(found any) bool { _, refused := found.(refusal); return refused },
	"time":     func(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05") },
	"day":      func(text string) string { day, _, _ := strings.Cut(text, "T"); return day },
	"first":    func(values []string) string { return strings.Join(values[:min(len(values), 1)], "") },
	"commas":   func(values []string) string { return strings.Join(values, ",") },
	"few":      few,
	"other":    func(resource string) bool { return resource != store.CPU && resource != store.Memory },
	"milli":    func(n int64) int64 { return n / 1000 },
	"states":   func() []string { return []string{"", store.StateWaiting, store.StateRunning, store.StateFinished} },
	"percent":  func(held, of int64) int64 { return int64(100 * float64(held) / float64(max(of, 1))) },
	"amount":   amountText,
	"hours":    func(seconds int64, per float64) string { return fmt.Sprintf("%.2f", float64(seconds)/3600/per) },
	"duration": func(seconds int64) string { return (time.Duration(seconds) * time.Second).String() },
	"field":    fieldOf,
	"next": func(query map[string][]string, page string) template.URL {
		return template.URL(with(query, "page", page)) //nolint:gosec // encoded
	},
	"as": func(query map[string][]string, format string) template.URL {
		return template.URL(with(query, "format", format)) //nolint:gosec // encoded
	},
	"spaces": func(namespaces []string) template.URL {
		return template.URL("&" + url.Values{"namespace": namespaces[:min(len(namespaces), maxNamespaces)]}.Encode()) //nolint:gosec // encoded
	},
	"timeline": timeline,
}

// with is a query with another value.
func with(query map[string][]string, name, value string) string {
	changed := url.Values{}
	for key, values := range query {
		changed[key] = values
	}
	changed.Set(name, value)
	return changed.Encode()
}

// few of many names.
func few(names []string) string {
	const most = 5
	text := strings.Join(names[:min(len(names), most)], ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// amountText is an amount as people say it.
func amountText(resource string, amount int64) string {
	switch {
	case resource == store.CPU:
		return fmt.Sprintf("%.4g cores", float64(amount)/1000)
	case resource == store.Memory, resource == "ephemeral-storage", strings.HasPrefix(resource, "hugepages-"):
		return fmt.Sprintf("%.4g GiB", float64(amount)/1024)
	default:
		return fmt.Sprint(amount)
	}
}

// fieldOf a line of a report.
func fieldOf(line Usage, field string) string {
	return map[string]string{store.ByTime: line.Time, store.ByNamespace: line.Namespace, store.ByQueue: line.Queue, store.ByUser: line.User, store.ByClass: line.Class}[field]
}

// picture is when the pods of an application ran; x is 0 to 1000.
type picture struct {
	Height int
	Start  int64 // until then it waited
	Bars   []bar
}

type bar struct {
	Name, Class string
	X, Width    int64
	Y           int
}

// maxBars is how many pods are drawn.
const maxBars = 200

// timeline draws the pods of a story, the first that started on top; nil means that there are none.
func timeline(story any) *picture {
	told, ok := story.(Story)
	if !ok || len(told.Items) == 0 {
		return nil
	}
	pods := slices.Clone(told.Items)
	slices.SortStableFunc(pods, func(a, b Pod) int { return cmp.Compare(a.begin, b.begin) })
	pods = pods[:min(len(pods), maxBars)]
	from, to := pods[0].begin, pods[0].end
	if submitted, err := time.Parse(time.RFC3339, told.Submitted); err == nil {
		from = min(from, submitted.UnixMilli())
	}
	for _, pod := range pods {
		to = max(to, pod.end)
	}
	at := func(ms int64) int64 { return (ms - from) * 1000 / max(to-from, 1) }
	drawn := &picture{Height: 10 * len(pods), Start: at(pods[0].begin)}
	for i, pod := range pods {
		class := "run"
		switch {
		case pod.Lost:
			class = "lost"
		case pod.Role == "driver":
			class = "leader"
		}
		drawn.Bars = append(drawn.Bars, bar{Name: pod.Name + " on " + pod.Node, Class: class, X: at(pod.begin), Width: max(at(pod.end)-at(pod.begin), 1), Y: 10*i + 1})
	}
	return drawn
}
