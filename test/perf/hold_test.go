//go:build perf

package perf_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	"sigs.k8s.io/yaml"

	"retinue.dev/retinue/pkg/plugin"
)

// holdName is the plugin's name in the configurations that withHold makes.
const holdName = "Hold"

// hold keeps all pods that are measured out of the scheduling queue until every one of them is there, and then lets them in at once:
// what is measured then is how fast the scheduler takes them, and not how fast the test creates them. Retinue is not asked about a pod
// either (before). The zero hold keeps nobody.
type hold struct {
	count int           // of pods that are kept
	all   chan struct{} // closed when they are all there

	mu     sync.Mutex // guards everything below
	handle fwk.Handle // of the scheduler that runs
	pods   map[types.UID]*v1.Pod
	open   bool
}

// newHold keeps so many pods; none if that is zero.
func newHold(count int) *hold {
	return &hold{count: count, all: make(chan struct{}), pods: map[types.UID]*v1.Pod{}, open: count == 0}
}

// factory makes the plugin, which is the hold itself.
func (h *hold) factory(_ context.Context, _ runtime.Object, handle fwk.Handle) (fwk.Plugin, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handle = handle
	return h, nil
}

func (*hold) Name() string { return holdName }

// EventsToRegister is empty: nothing that happens to the cluster lets a pod in.
func (*hold) EventsToRegister(context.Context) ([]fwk.ClusterEventWithHint, error) { return nil, nil }

// PreEnqueue keeps a pod until release.
func (h *hold) PreEnqueue(_ context.Context, pod *v1.Pod) *fwk.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open || !strings.HasPrefix(pod.Namespace, namespace) {
		return nil
	}
	if h.pods[pod.UID] = pod; len(h.pods) == h.count {
		h.count = 0
		close(h.all)
	}
	return fwk.NewStatus(fwk.UnschedulableAndUnresolvable, "not all pods are there yet")
}

// before is Retinue's plugin with the hold asked first: kube-scheduler asks the plugins of PreEnqueue in no order, and Retinue would keep most
// pods from the hold.
func (h *hold) before(made fwk.Plugin) fwk.Plugin {
	retinue, is := made.(*plugin.Plugin)
	if !is || h.open {
		return made
	}
	return heldRetinue{retinue, h}
}

// heldRetinue is Retinue's plugin, which hears of no pod in PreEnqueue that is kept.
type heldRetinue struct {
	*plugin.Plugin
	hold *hold
}

// PreEnqueue asks the hold, and then Retinue.
func (r heldRetinue) PreEnqueue(ctx context.Context, pod *v1.Pod) *fwk.Status {
	if status := r.hold.PreEnqueue(ctx, pod); !status.IsSuccess() {
		return status
	}
	return r.Plugin.PreEnqueue(ctx, pod)
}

// release lets all pods in, in one step of the scheduling queue.
func (h *hold) release() {
	h.mu.Lock()
	named := make(map[string]*v1.Pod, len(h.pods)) // namespace/name -> pod
	for _, pod := range h.pods {
		named[klog.KObj(pod).String()] = pod
	}
	h.open, h.pods = true, nil
	handle := h.handle
	h.mu.Unlock()
	handle.Activate(klog.Background(), named)
}

// withHold writes a copy of a scheduler's configuration that has the plugin, into a folder, and returns its path. An empty file is
// kube-scheduler as it comes.
func withHold(folder, file, schedulerName string) (string, error) {
	configuration := map[string]any{}
	if file == "" {
		configuration = map[string]any{
			"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration", "profiles": []any{map[string]any{"schedulerName": schedulerName}},
		}
	} else {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		if err := yaml.Unmarshal(text, &configuration); err != nil {
			return "", fmt.Errorf("%s: %w", file, err)
		}
	}
	profiles, _ := configuration["profiles"].([]any)
	if len(profiles) != 1 {
		return "", fmt.Errorf("%s: %d profiles, want one", file, len(profiles))
	}
	profile, _ := profiles[0].(map[string]any)
	multiPoint := below(below(profile, "plugins"), "multiPoint")
	enabled, _ := multiPoint["enabled"].([]any)
	multiPoint["enabled"] = append([]any{map[string]any{"name": holdName}}, enabled...)
	text, err := yaml.Marshal(configuration)
	if err != nil {
		return "", err
	}
	held := filepath.Join(folder, "held-"+schedulerName+"-"+filepath.Base(file)+".yaml")
	return held, os.WriteFile(held, text, 0o600)
}

// below is a part of a configuration, which is made if it is not there.
func below(configuration map[string]any, name string) map[string]any {
	part, found := configuration[name].(map[string]any)
	if !found {
		part = map[string]any{}
		configuration[name] = part
	}
	return part
}
