package crd

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	fakediscovery "k8s.io/client-go/discovery/fake"
	fakedynamic "k8s.io/client-go/dynamic/fake"
	core "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/events"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/component-base/metrics/testutil"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

var widgets = schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}

// A kind that cannot be listed holds nobody up for ever: after a while the cluster is scheduled without it, and the
// administrator is told so by an event, a metric and the log. When it can be listed its objects count.
//
// Seen failing when nobody but the informer knew that listing had failed: the scheduler admitted nobody as long as it lasted.
func TestAKindThatCannotBeListedHoldsNobodyUpForEver(t *testing.T) {
	forbidden := apierrors.NewForbidden(widgets.GroupResource(), "", errors.New(`User "retinue" cannot list resource "widgets"`))
	handlers := utilruntime.ErrorHandlers
	utilruntime.ErrorHandlers = handlers[:1] // the other one sleeps until a time of the real clock
	defer func() { utilruntime.ErrorHandlers = handlers }()
	for name, verb := range map[string]string{"its objects cannot be listed": "list", "nobody says whether it exists": "discovery"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				failing := true
				known := &core.Fake{Resources: []*metav1.APIResourceList{{GroupVersion: "example.com/v1", APIResources: []metav1.APIResource{{Name: "widgets"}}}}}
				dynamic := fakedynamic.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{widgets: "WidgetList"},
					&unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "Widget", "metadata": map[string]any{"namespace": "ns", "name": "one"}}})
				fail := func(core.Action) (bool, runtime.Object, error) { return failing, nil, forbidden }
				if verb == "discovery" {
					known.PrependReactor("*", "*", fail)
				} else {
					dynamic.PrependReactor("list", "*", fail)
				}
				recorder := events.NewFakeRecorder(10)
				r := Outside{
					Dynamic: dynamic, Discovery: &fakediscovery.FakeDiscovery{Fake: known}, Recorder: recorder, Clock: clock.RealClock{}, Logger: klog.Background(),
				}.Optional(widgets)
				var seen []string
				done := make(chan struct{})
				go func() {
					defer close(done)
					r.Follow(ctx, func(_, widget *unstructured.Unstructured) { seen = append(seen, widget.GetName()) }, func(*unstructured.Unstructured) {})
				}()

				after(patience - time.Second)
				require.False(t, r.Known(), "it may come any moment")
				require.Empty(t, recorder.Events)
				after(2 * time.Second)
				require.True(t, r.Known())
				require.Len(t, recorder.Events, 1)
				told := <-recorder.Events
				require.True(t, strings.HasPrefix(told, "Warning NotListed Pods are scheduled as if there were no widgets.example.com, because they cannot be listed: "), told)
				require.Contains(t, told, "cannot list resource")
				require.Equal(t, 1.0, gauge(t))

				failing = false
				after(10 * time.Minute)
				require.Equal(t, []string{"one"}, seen)
				require.Equal(t, 0.0, gauge(t))
				require.Empty(t, recorder.Events)
				stop()
				<-done
			})
		})
	}
}

func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// gauge is retinue_unknown_kinds of widgets.
func gauge(t *testing.T) float64 {
	t.Helper()
	families, err := legacyregistry.DefaultGatherer.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() == "retinue_unknown_kinds" {
			for _, metric := range family.GetMetric() {
				if testutil.LabelsMatch(metric, map[string]string{"kind": "widgets.example.com"}) {
					return metric.GetGauge().GetValue()
				}
			}
		}
	}
	t.Fatal("no such metric")
	return 0
}
