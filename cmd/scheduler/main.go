// Command scheduler is kube-scheduler with the plugin Retinue compiled in.
package main

import (
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // the JSON log format
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // the metric of the version
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/cmd/kube-scheduler/app"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"retinue.dev/retinue/pkg/plugin"
)

func main() {
	var command *cobra.Command
	profiles := sync.OnceValue(func() []string {
		names, err := profilesOf(command.Flags().Lookup("config").Value.String())
		if err != nil {
			klog.Background().Error(err, "Profiles cannot be read: every pod may be one of theirs")
		}
		return names
	})
	serves := func(schedulerName string) bool {
		return profiles() == nil || slices.Contains(profiles(), schedulerName)
	}
	command = app.NewSchedulerCommand(app.WithPlugin(plugin.Name, plugin.Factory(clock.RealClock{}, serves)))
	os.Exit(cli.Run(command))
}

// profilesOf are the schedulerNames in a KubeSchedulerConfiguration, which kube-scheduler tells no plugin.
func profilesOf(file string) ([]string, error) {
	if file == "" {
		return []string{v1.DefaultSchedulerName}, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var configuration struct {
		Profiles []struct {
			SchedulerName string `json:"schedulerName"`
		} `json:"profiles"`
	}
	if err := yaml.Unmarshal(text, &configuration); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var names []string
	for _, profile := range configuration.Profiles {
		if profile.SchedulerName == "" {
			profile.SchedulerName = v1.DefaultSchedulerName
		}
		names = append(names, profile.SchedulerName)
	}
	if len(names) == 0 {
		names = []string{v1.DefaultSchedulerName}
	}
	return names, nil
}
