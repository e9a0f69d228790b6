//go:build perf

package perf_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	"sigs.k8s.io/yaml"
)

// activator is a scheduler of which the hold needs no more than this.
type activator struct {
	fwk.Handle
	activated map[string]*v1.Pod
}

func (a *activator) Activate(_ klog.Logger, pods map[string]*v1.Pod) { a.activated = pods }

// TestPodsAreHeldUntilAllAreThere is about what Queues measures: it begins when nobody is missing, with everybody at once.
func TestPodsAreHeldUntilAllAreThere(t *testing.T) {
	scheduler := &activator{}
	h := newHold(2)
	if _, err := h.factory(t.Context(), nil, scheduler); err != nil {
		t.Fatal(err)
	}
	pod := func(namespace, name string) *v1.Pod {
		return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + name)}}
	}
	first, second := pod("applications-0", "a"), pod("applications-1", "a")
	for i, each := range []*v1.Pod{first, first, second} { // the first is seen again
		if h.PreEnqueue(t.Context(), each).IsSuccess() {
			t.Errorf("pod %s is let in", klog.KObj(each))
		}
		select {
		case <-h.all:
			if i < 2 {
				t.Errorf("all are said to be there after pod %d", i)
			}
		default:
			if i == 2 {
				t.Error("nobody is said to be missing, and nothing begins")
			}
		}
	}
	if !h.PreEnqueue(t.Context(), pod("other", "a")).IsSuccess() {
		t.Error("a pod is held that is not measured")
	}
	h.release()
	if len(scheduler.activated) != 2 || scheduler.activated["applications-0/a"] != first || scheduler.activated["applications-1/a"] != second {
		t.Errorf("let in are %v, want both", scheduler.activated)
	}
	if !h.PreEnqueue(t.Context(), first).IsSuccess() {
		t.Error("a pod is held after all have been let in")
	}
	if !newHold(0).PreEnqueue(t.Context(), first).IsSuccess() {
		t.Error("a pod is held although none is to be")
	}
}

// TestTheHoldIsAskedFirst is about the configurations that have it: Retinue does not hear of a pod that is held.
func TestTheHoldIsAskedFirst(t *testing.T) {
	for _, c := range contestants {
		file, err := withHold(t.TempDir(), c.Configuration, c.Name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var held struct {
			Profiles []struct {
				SchedulerName string
				Plugins       struct {
					MultiPoint struct{ Enabled []struct{ Name string } }
				}
			}
		}
		if err := yaml.Unmarshal(text, &held); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, enabled := range held.Profiles[0].Plugins.MultiPoint.Enabled {
			names = append(names, enabled.Name)
		}
		want := map[string]string{shippedConfiguration: "[Hold Retinue]", "ceiling.yaml": "[Hold Ceiling]", "": "[Hold]"}[c.Configuration]
		if got := fmt.Sprint(names); got != want || held.Profiles[0].SchedulerName != c.Name {
			t.Errorf("%s: plugins %s of profile %s, want %s of %s", c.Title, got, held.Profiles[0].SchedulerName, want, c.Name)
		}
		if strings.Contains(string(text), "NodeResourcesFit") != (c.Configuration == shippedConfiguration) {
			t.Errorf("%s: arguments of plugins are lost", c.Title)
		}
	}
}
