package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/cmd/kube-scheduler/app"
	"k8s.io/kubernetes/cmd/kube-scheduler/app/options"
	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/plugin"
)

const shipped = "../../manifests/setup/scheduler-config.yaml"

// nowhere is a kubeconfig of an API server that is never asked: setting a scheduler up needs none.
const nowhere = `
apiVersion: v1
kind: Config
clusters: [{name: nowhere, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: nowhere, context: {cluster: nowhere}}]
current-context: nowhere
`

// setup sets the scheduler up with the shipped configuration, changed by replacing strings.
func setup(t *testing.T, replacements ...string) (*scheduler.Scheduler, error) {
	t.Helper()
	text, err := os.ReadFile(shipped)
	require.NoError(t, err)
	folder := t.TempDir()
	kubeconfig, config := filepath.Join(folder, "kubeconfig"), filepath.Join(folder, "config.yaml")
	require.NoError(t, os.WriteFile(kubeconfig, []byte(nowhere), 0o600))
	replacements = append(replacements, "leaderElect: true", "leaderElect: false", "clientConnection:", "clientConnection:\n  kubeconfig: "+kubeconfig)
	changed := strings.NewReplacer(replacements...).Replace(string(text))
	require.NoError(t, os.WriteFile(config, []byte(changed), 0o600))

	opts := options.NewOptions()
	opts.ConfigFile = config
	opts.SecureServing.BindPort = 0
	_, sched, err := app.Setup(t.Context(), opts, app.WithPlugin(plugin.Name, plugin.Factory(clock.RealClock{}, plugin.Process{})))
	return sched, err
}

func TestTheShippedConfigurationTurnsThePluginOn(t *testing.T) {
	sched, err := setup(t)
	require.NoError(t, err)
	require.Contains(t, sched.Profiles, "retinue")
	plugins := sched.Profiles["retinue"].ListPlugins()
	names := func(of []string) sets.Set[string] { return sets.New(of...) }
	for point, enabled := range map[string][]string{
		"QueueSort": pluginNames(plugins.QueueSort.Enabled), "PreEnqueue": pluginNames(plugins.PreEnqueue.Enabled), "PreFilter": pluginNames(plugins.PreFilter.Enabled),
		"Filter": pluginNames(plugins.Filter.Enabled), "PostFilter": pluginNames(plugins.PostFilter.Enabled), "Score": pluginNames(plugins.Score.Enabled),
		"Reserve": pluginNames(plugins.Reserve.Enabled), "Bind": pluginNames(plugins.Bind.Enabled), "PostBind": pluginNames(plugins.PostBind.Enabled),
	} {
		require.True(t, names(enabled).Has(plugin.Name), "%s runs %v", point, enabled)
		require.False(t, names(enabled).HasAny("PrioritySort", "DefaultPreemption"), "%s runs %v", point, enabled)
	}
	// A binder after the default one is never asked.
	require.Equal(t, []string{plugin.Name, "DefaultBinder"}, pluginNames(plugins.Bind.Enabled))
}

// profileWith is the handle of a profile with these Bind plugins.
type profileWith struct {
	fwk.Handle
	binders []string
}

func (p profileWith) ListPlugins() *config.Plugins {
	listed := &config.Plugins{}
	for _, name := range p.binders {
		listed.Bind.Enabled = append(listed.Bind.Enabled, config.Plugin{Name: name})
	}
	return listed
}

func TestAPodIsLeftToABindPluginBetweenRetinueAndTheDefaultOne(t *testing.T) {
	for name, test := range map[string]struct {
		binders []string
		want    bool
	}{
		"as shipped":          {[]string{plugin.Name, "DefaultBinder"}, false},
		"alone":               {[]string{plugin.Name}, false},
		"another between":     {[]string{plugin.Name, "Other", "DefaultBinder"}, true},
		"another alone":       {[]string{plugin.Name, "Other"}, true},
		"another before":      {[]string{"Other", plugin.Name, "DefaultBinder"}, false},
		"another last of all": {[]string{plugin.Name, "DefaultBinder", "Other"}, false},
		"without the plugin":  {[]string{"Other", "DefaultBinder"}, false},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, bindsOtherwise(profileWith{binders: test.binders})) })
	}
}

func pluginNames(plugins []config.Plugin) []string {
	var names []string
	for _, p := range plugins {
		names = append(names, p.Name)
	}
	return names
}

func TestAWrongConfigurationStopsTheStartByNameAndValue(t *testing.T) {
	tests := map[string]struct {
		replace, by string
		want        []string
	}{
		"an unknown argument":                    {"placement: Pack", "placment: Pack", []string{"placment", `"Pack"`}},
		"a wrong value":                          {"placement: Pack", "placement: Packed", []string{"placement", `"Packed"`}},
		"a wrong duration":                       {"placement: Pack", "definitionTimeout: -5s", []string{"definitionTimeout", `"-5s"`}},
		"an unknown field outside the arguments": {"profiles:", "profils: []\nprofiles:", []string{"profils"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := setup(t, test.replace, test.by)
			require.Error(t, err)
			for _, want := range test.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

// Two profiles with the plugin would have a ledger each and give the same room away twice.
func TestTwoProfilesWithThePluginStopTheStart(t *testing.T) {
	text, err := os.ReadFile(shipped)
	require.NoError(t, err)
	_, profile, found := strings.Cut(string(text), "profiles:\n")
	require.True(t, found)
	second := strings.Replace(profile, "schedulerName: retinue", "schedulerName: other", 1)
	_, err = setup(t, "profiles:\n", "profiles:\n"+second)
	require.ErrorContains(t, err, `profile "other"`)
	require.ErrorContains(t, err, `profile "retinue"`)
	require.ErrorContains(t, err, "would give the same room away twice")
}

func TestTheProfilesOfAConfiguration(t *testing.T) {
	for name, test := range map[string]struct {
		text  string
		names []string
	}{
		"one":             {"profiles: [{schedulerName: retinue}]", []string{"retinue"}},
		"two":             {"profiles: [{schedulerName: retinue}, {plugins: {}}]", []string{"retinue", "default-scheduler"}},
		"nothing said":    {"kind: KubeSchedulerConfiguration", []string{"default-scheduler"}},
		"no such type":    {"profiles: {schedulerName: retinue}", nil},
		"nothing written": {"", []string{"default-scheduler"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config.yaml")
			require.NoError(t, os.WriteFile(file, []byte(test.text), 0o600))
			c, err := read(file)
			require.Equal(t, test.names == nil, err != nil, "%v", err)
			if err == nil {
				require.Equal(t, test.names, c.profiles)
			}
		})
	}
	c, err := read("")
	require.NoError(t, err)
	require.Equal(t, []string{"default-scheduler"}, c.profiles)
	_, err = read(filepath.Join(t.TempDir(), "none"))
	require.Error(t, err)
	c, err = read(shipped)
	require.NoError(t, err)
	require.Equal(t, []string{"retinue"}, c.profiles)
}

func TestTheResourcesThatAProfileIgnores(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`
profiles:
- schedulerName: one
  pluginConfig:
  - name: NodeResourcesFit
    args: {ignoredResources: [example.com/license], ignoredResourceGroups: [other.example]}
- schedulerName: two
extenders:
- managedResources: [{name: example.com/extended, ignoredByScheduler: true}, {name: example.com/filtered}]
`), 0o600))
	c, err := read(file)
	require.NoError(t, err)
	for profile, ignored := range map[string][]v1.ResourceName{
		"one": {"example.com/license", "other.example/any", "example.com/extended"},
		"two": {"example.com/extended"},
	} {
		for _, resource := range []v1.ResourceName{"example.com/license", "other.example/any", "example.com/extended", "example.com/filtered", "cpu", "other.example"} {
			require.Equal(t, slices.Contains(ignored, resource), c.ignores(profile, resource), "%s %s", profile, resource)
		}
	}
	require.NoError(t, os.WriteFile(file, []byte("profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {ignoredResources: 7}}]}]"), 0o600))
	_, err = read(file)
	require.ErrorContains(t, err, "NodeResourcesFit in profile default-scheduler")
}
