package upstream_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"retinue.dev/retinue/test/upstream"
)

const call = "retinueprofile.Apply(&options.profiles, &options.frameworkOutOfTreeRegistry, options.extenders, options.clock)"

func pinned(t *testing.T) string { return pinnedFile(t, "pkg/scheduler/scheduler.go") }

func pinnedFile(t *testing.T, name string) string {
	t.Helper()
	dir, err := exec.Command("../../hack/module-dir", "k8s.io/kubernetes").Output()
	require.NoError(t, err)
	source, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), name))
	require.NoError(t, err)
	return string(source)
}

func TestThePinnedSchedulerIsPatchedBetweenItsOptionsAndItsRegistry(t *testing.T) {
	patched, err := upstream.Patch([]byte(pinned(t)))
	require.NoError(t, err)
	before, after, found := strings.Cut(string(patched), call)
	require.True(t, found)
	require.Contains(t, before, "options := defaultSchedulerOptions")
	require.Contains(t, before, `retinueprofile "retinue.dev/retinue/test/upstream/profile"`)
	require.NotContains(t, before, "NewInTreeRegistry()")
	require.Contains(t, after, "NewInTreeRegistry()")
	require.Equal(t, 1, strings.Count(string(patched), "retinueprofile.Apply"))
}

func TestWhatThePatchDoesNotFindItNames(t *testing.T) {
	source := pinned(t)
	for name, test := range map[string]struct {
		replace, by string
		want        string
	}{
		"the registry is made by another function":  {"frameworkplugins.NewInTreeRegistry()", "frameworkplugins.Registry()", "call of NewInTreeRegistry in function New"},
		"the options have no profiles":              {"profiles                   []", "profile                    []", "field profiles"},
		"the options start from something else":     {"options := defaultSchedulerOptions", "options := otherOptions", "assignment of defaultSchedulerOptions"},
		"the function has another name":             {"func New(ctx", "func NewScheduler(ctx", "function New"},
		"the plugins of others have another field":  {"frameworkOutOfTreeRegistry frameworkruntime.Registry", "outOfTree frameworkruntime.Registry", "field frameworkOutOfTreeRegistry"},
		"the queue has a clock of its own":          {"clock                  clock.WithTicker", "queueClock             clock.WithTicker", "field clock"},
		"the options are set after the registry is": {"\tregistry := frameworkplugins.NewInTreeRegistry()", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, source, test.replace)
			changed := strings.Replace(source, test.replace, test.by, 1)
			if test.want == "" {
				changed = strings.Replace(changed, "\toptions := defaultSchedulerOptions", "registry := frameworkplugins.NewInTreeRegistry()\n\toptions := defaultSchedulerOptions", 1)
				test.want = "the options before the registry"
			}
			_, err := upstream.Patch([]byte(changed))
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestAPIServersOfTheTestsHaveTimeToStart(t *testing.T) {
	source := pinnedFile(t, "test/integration/framework/test_server.go")
	patient, err := upstream.Patient([]byte(source))
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(patient), "2*time.Minute, true, func(ctx context.Context) (done bool"))
	_, err = upstream.Patient(patient)
	require.ErrorContains(t, err, "not found")
}
