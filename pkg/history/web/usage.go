package web

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"retinue.dev/retinue/pkg/history/store"
)

// Report is what was used.
type Report struct {
	From     string   `json:"from"`
	Until    string   `json:"until"`
	By       []string `json:"by"`
	Currency string   `json:"currency,omitempty"`
	Items    []Usage  `json:"items"`
	// Until when sums have been made; what came after is not in them.
	Complete string `json:"complete"`

	resources []string
}

// Usage is one line of a report. The fields it is not told apart by are empty.
type Usage struct {
	Time          string  `json:"time,omitempty"`
	Namespace     string  `json:"namespace,omitempty"`
	Queue         string  `json:"queue,omitempty"`
	User          string  `json:"user,omitempty"`
	Class         string  `json:"class,omitempty"`
	VcoreSeconds  int64   `json:"vcoreSeconds"`
	MemorySeconds int64   `json:"memorySeconds"` // MiB
	Used          Amounts `json:"resourceSeconds"`
	Lost          Amounts `json:"lostResourceSeconds"`
	Capacity      Amounts `json:"capacityResourceSeconds,omitempty"`
	// Idle is the percentage of the capacity that nobody used, by resource.
	Idle     map[string]float64 `json:"idlePercent,omitempty"`
	Cost     float64            `json:"cost"`
	LostCost float64            `json:"lostCost"`
}

// maxSpan is how much time a report by hours may be about.
const maxSpan = 31 * store.Day

// moment is a time of a query: 2026-11-29, or RFC 3339.
func moment(text string) (int64, error) {
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(form, text); err == nil {
			return at.UnixMilli(), nil
		}
	}
	return 0, refused(http.StatusBadRequest, "from and until are a day such as 2026-11-29, or a whole hour such as 2026-11-29T10:00:00Z")
}

// usageOf is what a request asks of the sums: from, until, by (fields with commas), namespace (any number).
func (s *Site) usageOf(in *http.Request, viewer Viewer) (ask store.Usage, by []string, err error) {
	query := in.URL.Query()
	ask.Until = s.now() - s.now()%store.Day + store.Day
	ask.From = ask.Until - 7*store.Day
	for name, at := range map[string]*int64{"from": &ask.From, "until": &ask.Until} {
		if text := query.Get(name); text != "" {
			if *at, err = moment(text); err != nil {
				return ask, nil, err
			}
		}
	}
	ask.Daily = ask.From%store.Day == 0 && ask.Until%store.Day == 0 && query.Get("hours") == ""
	if ask.From%store.Hour != 0 || ask.Until%store.Hour != 0 || !ask.Daily && ask.Until-ask.From > maxSpan {
		return ask, nil, refused(http.StatusBadRequest, "from and until are whole hours, or, for more than 31 days, whole days")
	}
	by = strings.FieldsFunc(query.Get("by"), func(r rune) bool { return r == ',' })
	if len(by) == 0 {
		by = []string{store.ByNamespace, store.ByUser}
	}
	for _, field := range by {
		if !slices.Contains([]string{store.ByTime, store.ByNamespace, store.ByQueue, store.ByUser, store.ByClass}, field) {
			return ask, nil, refused(http.StatusBadRequest, "by is any of time, namespace, queue, user and class, with commas between")
		}
	}
	ask.Namespaces, err = namespaces(in, viewer)
	// Nodes belong to nobody: what they offer is told where nothing is told apart by whose it is.
	ask.Capacity = ask.Namespaces == nil && !slices.ContainsFunc(by, func(field string) bool {
		return field == store.ByNamespace || field == store.ByQueue || field == store.ByUser
	})
	ask.By = append(slices.Clone(by), store.ByResource)
	if len(s.outside.Prices.Rates) > 0 {
		ask.By = append(ask.By, store.ByTime, store.ByClass) // rates differ by these
	}
	return ask, by, err
}

func (s *Site) usage(in *http.Request, viewer Viewer) (any, error) { return s.report(in, viewer) }

func (s *Site) report(in *http.Request, viewer Viewer) (*Report, error) {
	ask, by, err := s.usageOf(in, viewer)
	if err != nil {
		return nil, err
	}
	rows, err := s.outside.Store.Usage(in.Context(), ask)
	if err != nil {
		return nil, err
	}
	state, err := s.outside.Store.State(in.Context())
	if err != nil {
		return nil, err
	}
	report := &Report{From: timestamp(ask.From), Until: timestamp(ask.Until), By: by, Currency: s.outside.Prices.Currency, Items: []Usage{}, Complete: timestamp(state.Horizon)}
	lines, resources := map[store.Cell]*Usage{}, map[string]bool{}
	for _, row := range rows {
		cell := only(row.Cell, by)
		line := lines[cell]
		if line == nil {
			line = &Usage{Namespace: cell.Namespace, Queue: cell.Queue, User: cell.User, Class: cell.Class, Used: Amounts{}, Lost: Amounts{}, Time: timestamp(cell.Hour)}
			lines[cell] = line
		}
		line.add(row)
		used, lost := s.outside.Prices.Cost(row)
		line.Cost, line.LostCost = line.Cost+used, line.LostCost+lost
		resources[row.Resource] = true
	}
	report.resources = slices.Sorted(maps.Keys(resources))
	for _, line := range lines {
		line.finish()
		report.Items = append(report.Items, *line)
	}
	slices.SortFunc(report.Items, func(a, b Usage) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(b.VcoreSeconds, a.VcoreSeconds), cmp.Compare(a.Namespace, b.Namespace),
			cmp.Compare(a.Queue, b.Queue), cmp.Compare(a.User, b.User), cmp.Compare(a.Class, b.Class))
	})
	return report, nil
}

// only the fields that are told apart.
func only(cell store.Cell, by []string) store.Cell {
	var kept store.Cell
	for _, field := range by {
		switch field {
		case store.ByTime:
			kept.Hour = cell.Hour
		case store.ByNamespace:
			kept.Namespace = cell.Namespace
		case store.ByQueue:
			kept.Queue = cell.Queue
		case store.ByUser:
			kept.User = cell.User
		case store.ByClass:
			kept.Class = cell.Class
		}
	}
	return kept
}

func (u *Usage) add(row store.Row) {
	if row.Used > 0 {
		add(u.Used, Amounts{row.Resource: row.Used})
	}
	if row.Lost > 0 {
		add(u.Lost, Amounts{row.Resource: row.Lost})
	}
	if row.Capacity > 0 {
		if u.Capacity == nil {
			u.Capacity = Amounts{}
		}
		add(u.Capacity, Amounts{row.Resource: row.Capacity})
	}
}

func (u *Usage) finish() {
	u.VcoreSeconds, u.MemorySeconds = u.Used[store.CPU]/1000, u.Used[store.Memory]
	for resource, capacity := range u.Capacity {
		if u.Idle == nil {
			u.Idle = map[string]float64{}
		}
		u.Idle[resource] = max(0, 100*(1-float64(u.Used[resource])/float64(capacity)))
	}
}

// usageAPI is a report, as JSON or, with format=csv, as a table.
func (s *Site) usageAPI(out http.ResponseWriter, in *http.Request) {
	if in.URL.Query().Get("format") != "csv" {
		s.api(s.usage)(out, in)
		return
	}
	_, found, err := s.ask(in, s.usage)
	if err != nil {
		fail(out, in, err)
		return
	}
	report := found.(*Report)
	out.Header().Set("Content-Type", "text/csv; charset=utf-8")
	out.Header().Set("Content-Disposition", `attachment; filename="usage.csv"`)
	table := csv.NewWriter(out)
	heads := []string{"time", "namespace", "queue", "user", "class", "vcoreSeconds", "memorySeconds", "cost", "lostCost"}
	for _, resource := range report.resources {
		heads = append(heads, resource+" used", resource+" lost")
	}
	_ = table.Write(heads)
	for _, line := range report.Items {
		row := []string{line.Time, plain(line.Namespace), plain(line.Queue), plain(line.User), plain(line.Class),
			strconv.FormatInt(line.VcoreSeconds, 10), strconv.FormatInt(line.MemorySeconds, 10), fmt.Sprintf("%.6f", line.Cost), fmt.Sprintf("%.6f", line.LostCost)}
		for _, resource := range report.resources {
			row = append(row, strconv.FormatInt(line.Used[resource], 10), strconv.FormatInt(line.Lost[resource], 10))
		}
		_ = table.Write(row)
	}
	table.Flush()
}

// plain keeps spreadsheets from taking what a user called himself for a formula.
func plain(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return "'" + text
	}
	return text
}
