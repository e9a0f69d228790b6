// Command scheduler is kube-scheduler with the plugin Retinue compiled in.
package main

import (
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // the JSON log format
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // the metric of the version
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/cmd/kube-scheduler/app"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/names"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/plugin"
	"retinue.dev/retinue/pkg/plugin/autoscaler"
)

func main() {
	var command *cobra.Command
	read := sync.OnceValue(func() *configuration {
		c, err := read(command.Flags().Lookup("config").Value.String())
		if err != nil {
			klog.Background().Error(err, "The configuration cannot be read: every pod may be of one of its profiles, and every resource counts")
		}
		return c
	})
	lease := &atomic.Pointer[autoscaler.Lease]{}
	told := &plugin.Teller{} // of the profile that has the plugin, once that has been made
	process := plugin.Process{
		Made: func(teller plugin.Teller) { *told = teller },
		Serves: func(schedulerName string) bool {
			c := read()
			return c == nil || slices.Contains(c.profiles, schedulerName)
		},
		Ignores: func(schedulerName string, resource v1.ResourceName) bool {
			c := read()
			return c != nil && c.ignores(schedulerName, resource)
		},
		BindsOtherwise: bindsOtherwise,
		Lease:          lease.Load,
	}
	command = newCommand(told, lease, app.WithPlugin(plugin.Name, plugin.Factory(clock.RealClock{}, process)))
	os.Exit(cli.Run(command))
}

// bindsOtherwise tells whether the profile of a handle has a Bind plugin between Retinue and kube-scheduler's own.
func bindsOtherwise(handle fwk.Handle) bool {
	listed, able := handle.(interface{ ListPlugins() *config.Plugins })
	if !able {
		return false
	}
	binders := listed.ListPlugins().Bind.Enabled
	own := slices.IndexFunc(binders, func(p config.Plugin) bool { return p.Name == plugin.Name })
	return own >= 0 && own+1 < len(binders) && binders[own+1].Name != names.DefaultBinder // which binds every pod
}
