// Command dashboards writes the Grafana dashboards of manifests/components/monitoring into a directory.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: dashboards DIRECTORY")
		os.Exit(2)
	}
	for _, b := range boards {
		if err := b.write(os.Args[1]); err != nil {
			fmt.Fprintf(os.Stderr, "dashboards: %s: %v\n", b.name, err)
			os.Exit(1)
		}
	}
}

// board is one dashboard.
type board struct {
	name, title string
	// choose lets readers choose queues; else the board is of the whole cluster.
	choose bool
	panels []panel
}

// panel is one diagram over time.
type panel struct {
	title, help, unit string
	stacked           bool
	queries           []query
}

// query is what one diagram shows; legend is a template of labels.
type query struct {
	expr, legend string
}

// source is what the reader has chosen.
var source = common.DataSourceRef{Type: pointer("prometheus"), Uid: pointer("${datasource}")}

func pointer[T any](value T) *T { return &value }

// write writes a dashboard as Grafana imports it.
func (b board) write(directory string) error {
	builder := dashboard.NewDashboardBuilder("Retinue / "+b.title).
		Uid("retinue-"+b.name).
		Tags([]string{"retinue"}).
		Refresh("30s").
		Time("now-6h", "now").
		Timezone(common.TimeZoneBrowser).
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Readonly().
		Link(dashboard.NewDashboardLinkBuilder("Retinue").Type(dashboard.DashboardLinkTypeDashboards).Tags([]string{"retinue"}).AsDropdown(true).KeepTime(true).IncludeVars(true)).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus"))
	if b.choose {
		builder = builder.WithVariable(dashboard.NewQueryVariableBuilder("queue").Label("Queue").
			Query(dashboard.StringOrMap{String: pointer(`label_values(retinue_queue_users{job="retinue-metrics"}, queue)`)}).
			Datasource(source).Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortAlphabeticalAsc).
			Multi(true).IncludeAll(true).AllValue(".*"))
	}
	for _, p := range b.panels {
		builder = builder.WithPanel(p.build())
	}
	built, err := builder.Build()
	if err != nil {
		return err
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(built); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(directory, b.name+".json"), text.Bytes(), 0o644)
}

func (p panel) build() *timeseries.PanelBuilder {
	builder := timeseries.NewPanelBuilder().
		Title(p.title).Description(p.help).Unit(p.unit).Datasource(source).Height(8).Span(12).Min(0).
		LineWidth(1).ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().DisplayMode(common.LegendDisplayModeTable).Placement(common.LegendPlacementRight).ShowLegend(true).Calcs([]string{"lastNotNull", "max"})).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	if p.stacked {
		builder = builder.FillOpacity(30).Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal))
	}
	for i, q := range p.queries {
		builder = builder.WithTarget(prometheus.NewDataqueryBuilder().RefId(string(rune('A' + i))).Expr(q.expr).LegendFormat(q.legend).Datasource(source).Range())
	}
	return builder
}
