package profile

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	configv1 "k8s.io/kube-scheduler/config/v1"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/plugin"
	"retinue.dev/retinue/test/upstream"
)

// shippedFile is from the folder of this test.
var shippedFile, _ = filepath.Abs("../../../manifests/setup/scheduler-config.yaml")

// asked are the profiles of a test of upstream's that asks for these plugins, as kube-scheduler gets them.
func asked(t *testing.T, plugins *configv1.Plugins) []config.KubeSchedulerProfile {
	t.Helper()
	versioned := configv1.KubeSchedulerConfiguration{Profiles: []configv1.KubeSchedulerProfile{{Plugins: plugins}}}
	scheme.Scheme.Default(&versioned)
	var internal config.KubeSchedulerConfiguration
	require.NoError(t, scheme.Scheme.Convert(&versioned, &internal, nil))
	return internal.Profiles
}

func namesOf(plugins []config.Plugin) []string {
	var names []string
	for _, p := range plugins {
		names = append(names, p.Name)
	}
	return names
}

func TestWithoutTheVariableNothingChanges(t *testing.T) {
	t.Setenv(upstream.ProfileFile, "")
	profiles, registry := asked(t, nil), frameworkruntime.Registry(nil)
	require.NoError(t, Apply(&profiles, &registry, nil, clock.RealClock{}))
	require.Equal(t, asked(t, nil), profiles)
	require.Nil(t, registry)
}

// What the shipped file makes of the default profile, and what this package does, has to be the same.
func TestTheDefaultProfileBecomesTheShippedOne(t *testing.T) {
	t.Setenv(upstream.ProfileFile, shippedFile)
	profiles, registry := asked(t, nil), frameworkruntime.Registry(nil)
	require.NoError(t, Apply(&profiles, &registry, nil, clock.RealClock{}))
	require.Contains(t, registry, plugin.Name)

	text, err := os.ReadFile(shippedFile)
	require.NoError(t, err)
	decoded, _, err := scheme.Codecs.UniversalDecoder().Decode(text, nil, nil)
	require.NoError(t, err)
	want := decoded.(*config.KubeSchedulerConfiguration).Profiles[0]
	require.Equal(t, "default-scheduler", profiles[0].SchedulerName)
	require.Equal(t, want.Plugins.MultiPoint.Enabled, profiles[0].Plugins.MultiPoint.Enabled)
	require.Equal(t, want.Plugins.Bind.Enabled, profiles[0].Plugins.Bind.Enabled)
	require.ElementsMatch(t, want.PluginConfig, profiles[0].PluginConfig)
}

func TestWhatATestAsksForStands(t *testing.T) {
	t.Setenv(upstream.ProfileFile, shippedFile)
	profiles, registry := asked(t, &configv1.Plugins{
		QueueSort: configv1.PluginSet{Enabled: []configv1.Plugin{{Name: "own"}}, Disabled: []configv1.Plugin{{Name: "*"}}},
		Bind:      configv1.PluginSet{Enabled: []configv1.Plugin{{Name: "binder"}}},
	}), frameworkruntime.Registry{"own": nil}
	require.NoError(t, Apply(&profiles, &registry, nil, clock.RealClock{}))
	require.Equal(t, []string{"own"}, namesOf(profiles[0].Plugins.QueueSort.Enabled))
	require.Contains(t, namesOf(profiles[0].Plugins.QueueSort.Disabled), plugin.Name)
	require.Equal(t, []string{plugin.Name, "binder"}, namesOf(profiles[0].Plugins.Bind.Enabled))
	require.Contains(t, registry, "own")
}

// Seen failing when the arguments of what the shipped profile turns off were always taken away: kube-scheduler did not start.
func TestWhatIsOffAndATestEnablesByItselfKeepsItsArguments(t *testing.T) {
	t.Setenv(upstream.ProfileFile, shippedFile)
	for name, point := range map[string]*configv1.Plugins{
		"by itself": {PostFilter: configv1.PluginSet{Enabled: []configv1.Plugin{{Name: "DefaultPreemption"}}}},
		"not":       nil,
	} {
		t.Run(name, func(t *testing.T) {
			profiles, registry := asked(t, point), frameworkruntime.Registry(nil)
			require.NoError(t, Apply(&profiles, &registry, nil, clock.RealClock{}))
			require.Equal(t, point != nil, argsOf(&profiles[0], "DefaultPreemption") != nil)
		})
	}
}
