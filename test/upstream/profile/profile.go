// Package profile is what is compiled into the patched copy of kube-scheduler: it lays the shipped profile under every profile that a
// test asks for.
package profile

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	configv1 "k8s.io/kube-scheduler/config/v1"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/names"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"retinue.dev/retinue/pkg/plugin"
	"retinue.dev/retinue/test/upstream"
)

// Apply registers the plugin, with the clock of the scheduling queue, and puts the shipped profile under each of the profiles, if
// upstream.ProfileFile is set.
func Apply(profiles *[]config.KubeSchedulerProfile, registry *frameworkruntime.Registry, extenders []config.Extender, clock clock.WithTicker) error {
	file := os.Getenv(upstream.ProfileFile)
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%s: %w", upstream.ProfileFile, err)
	}
	shipped, err := read(text)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", upstream.ProfileFile, file, err)
	}
	served := make([]string, len(*profiles))
	under := make([]config.KubeSchedulerProfile, len(*profiles))
	for i, profile := range *profiles {
		served[i] = profile.SchedulerName
		under[i] = shipped.under(profile)
	}
	registered := frameworkruntime.Registry{}
	if err := registered.Merge(*registry); err != nil {
		return err
	}
	process := plugin.Process{
		Serves:         func(schedulerName string) bool { return slices.Contains(served, schedulerName) },
		Ignores:        ignores(under, extenders),
		BindsOtherwise: bindsOtherwise,
	}
	if err := registered.Register(plugin.Name, plugin.Factory(clock, process)); err != nil {
		return err
	}
	*profiles, *registry = under, registered
	return nil
}

// bindsOtherwise tells what cmd/scheduler does: whether a Bind plugin stands between Retinue and kube-scheduler's own.
func bindsOtherwise(handle fwk.Handle) bool {
	listed, able := handle.(interface{ ListPlugins() *config.Plugins })
	if !able {
		return false
	}
	binders := listed.ListPlugins().Bind.Enabled
	own := slices.IndexFunc(binders, func(p config.Plugin) bool { return p.Name == plugin.Name })
	return own >= 0 && own+1 < len(binders) && binders[own+1].Name != names.DefaultBinder
}

// ignores is what the profiles and extenders say of resources that are not counted.
func ignores(profiles []config.KubeSchedulerProfile, extenders []config.Extender) func(string, v1.ResourceName) bool {
	return func(schedulerName string, resource v1.ResourceName) bool {
		for _, extender := range extenders {
			for _, managed := range extender.ManagedResources {
				if managed.IgnoredByScheduler && managed.Name == string(resource) {
					return true
				}
			}
		}
		group, _, grouped := strings.Cut(string(resource), "/")
		for i := range profiles {
			args, ok := argsOf(&profiles[i], names.NodeResourcesFit).(*config.NodeResourcesFitArgs)
			if ok && profiles[i].SchedulerName == schedulerName &&
				(slices.Contains(args.IgnoredResources, string(resource)) || grouped && slices.Contains(args.IgnoredResourceGroups, group)) {
				return true
			}
		}
		return false
	}
}

// shipped is the profile as it is shipped.
type shipped struct {
	// plugins are what the file says, before the default plugins are put to it.
	plugins configv1.Plugins
	// args are the arguments the file sets, decoded; plugin -> arguments.
	args map[string]runtime.Object
	// defaults are the arguments of a profile that sets none; plugin -> arguments.
	defaults map[string]runtime.Object
}

func read(text []byte) (*shipped, error) {
	var versioned configv1.KubeSchedulerConfiguration
	if err := yaml.Unmarshal(text, &versioned); err != nil {
		return nil, err
	}
	if len(versioned.Profiles) != 1 || versioned.Profiles[0].Plugins == nil {
		return nil, fmt.Errorf("want one profile with plugins, it has %d", len(versioned.Profiles))
	}
	decoded, _, err := scheme.Codecs.UniversalDecoder().Decode(text, nil, nil)
	if err != nil {
		return nil, err
	}
	configuration, ok := decoded.(*config.KubeSchedulerConfiguration)
	if !ok {
		return nil, fmt.Errorf("want a KubeSchedulerConfiguration, it is a %T", decoded)
	}
	of := &shipped{plugins: *versioned.Profiles[0].Plugins, args: map[string]runtime.Object{}, defaults: map[string]runtime.Object{}}
	for _, set := range versioned.Profiles[0].PluginConfig {
		of.args[set.Name] = argsOf(&configuration.Profiles[0], set.Name)
	}
	var none configv1.KubeSchedulerConfiguration
	scheme.Scheme.Default(&none)
	var internal config.KubeSchedulerConfiguration
	if err := scheme.Scheme.Convert(&none, &internal, nil); err != nil {
		return nil, err
	}
	for _, set := range internal.Profiles[0].PluginConfig {
		of.defaults[set.Name] = set.Args
	}
	return of, nil
}

func argsOf(profile *config.KubeSchedulerProfile, name string) runtime.Object {
	for _, set := range profile.PluginConfig {
		if set.Name == name {
			return set.Args
		}
	}
	return nil
}

// under is the profile a test asks for, with the shipped one beneath it: as if whoever wrote the test had started from the shipped
// profile instead of the default one. What the test itself says stands.
func (s *shipped) under(profile config.KubeSchedulerProfile) config.KubeSchedulerProfile {
	result := *profile.DeepCopy()
	if result.Plugins == nil {
		result.Plugins = &config.Plugins{}
	}
	multi := &result.Plugins.MultiPoint
	off := func(name string) bool {
		return slices.ContainsFunc(s.plugins.MultiPoint.Disabled, func(p configv1.Plugin) bool { return p.Name == name })
	}
	multi.Enabled = slices.DeleteFunc(multi.Enabled, func(p config.Plugin) bool { return off(p.Name) })
	result.PluginConfig = slices.DeleteFunc(result.PluginConfig, func(set config.PluginConfig) bool {
		return off(set.Name) && !enabled(result.Plugins, set.Name) && reflect.DeepEqual(set.Args, s.defaults[set.Name])
	})
	multi.Enabled = append(multi.Enabled, internal(s.plugins.MultiPoint.Enabled)...)
	// With a queue sort of its own the test wants no other, and there can be only one.
	if len(result.Plugins.QueueSort.Enabled) > 0 {
		for _, p := range s.plugins.MultiPoint.Enabled {
			result.Plugins.QueueSort.Disabled = append(result.Plugins.QueueSort.Disabled, config.Plugin{Name: p.Name})
		}
	}
	bind := &result.Plugins.Bind
	bind.Enabled = append(internal(s.plugins.Bind.Enabled), bind.Enabled...)
	for name, args := range s.args {
		at := slices.IndexFunc(result.PluginConfig, func(set config.PluginConfig) bool { return set.Name == name })
		switch {
		case at < 0:
			result.PluginConfig = append(result.PluginConfig, config.PluginConfig{Name: name, Args: args.DeepCopyObject()})
		case reflect.DeepEqual(result.PluginConfig[at].Args, s.defaults[name]):
			result.PluginConfig[at].Args = args.DeepCopyObject()
		}
	}
	return result
}

// enabled tells whether a test enables a plugin by itself at any point; it needs its arguments then.
func enabled(plugins *config.Plugins, name string) bool {
	points := reflect.ValueOf(*plugins)
	for i := range points.NumField() {
		set, ok := points.Field(i).Interface().(config.PluginSet)
		if ok && slices.ContainsFunc(set.Enabled, func(p config.Plugin) bool { return p.Name == name }) {
			return true
		}
	}
	return false
}

func internal(plugins []configv1.Plugin) []config.Plugin {
	var result []config.Plugin
	for _, p := range plugins {
		of := config.Plugin{Name: p.Name}
		if p.Weight != nil {
			of.Weight = *p.Weight
		}
		result = append(result, of)
	}
	return result
}
