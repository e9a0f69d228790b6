package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	configv1 "k8s.io/kube-scheduler/config/v1"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/names"
	"sigs.k8s.io/yaml"
)

// configuration is what a KubeSchedulerConfiguration says that kube-scheduler tells no plugin.
type configuration struct {
	// profiles are the schedulerNames.
	profiles []string
	// ignored are the extended resources that the plugin NodeResourcesFit of a profile does not count, and ignoredGroups
	// the domains of such: profile -> names. Those that extenders count are ignored in every profile.
	ignored, ignoredGroups map[string][]string
}

// read reads a file; without one, kube-scheduler has its default profile.
func read(file string) (*configuration, error) {
	c := &configuration{ignored: map[string][]string{}, ignoredGroups: map[string][]string{}}
	if file == "" {
		c.profiles = []string{v1.DefaultSchedulerName}
		return c, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var written configv1.KubeSchedulerConfiguration
	if err := yaml.Unmarshal(text, &written); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(written.Profiles) == 0 {
		written.Profiles = []configv1.KubeSchedulerProfile{{}}
	}
	for _, profile := range written.Profiles {
		name := v1.DefaultSchedulerName
		if profile.SchedulerName != nil && *profile.SchedulerName != "" {
			name = *profile.SchedulerName
		}
		c.profiles = append(c.profiles, name)
		for _, extender := range written.Extenders {
			for _, managed := range extender.ManagedResources {
				if managed.IgnoredByScheduler {
					c.ignored[name] = append(c.ignored[name], managed.Name)
				}
			}
		}
		for _, set := range profile.PluginConfig {
			if set.Name != names.NodeResourcesFit {
				continue
			}
			var args configv1.NodeResourcesFitArgs
			if err := json.Unmarshal(set.Args.Raw, &args); err != nil {
				return nil, fmt.Errorf("%s: arguments of %s in profile %s: %w", file, set.Name, name, err)
			}
			c.ignored[name] = append(c.ignored[name], args.IgnoredResources...)
			c.ignoredGroups[name] = append(c.ignoredGroups[name], args.IgnoredResourceGroups...)
		}
	}
	return c, nil
}

// ignores tells whether a profile leaves an extended resource to others.
func (c *configuration) ignores(profile string, resource v1.ResourceName) bool {
	group, _, grouped := strings.Cut(string(resource), "/")
	return slices.Contains(c.ignored[profile], string(resource)) || grouped && slices.Contains(c.ignoredGroups[profile], group)
}
