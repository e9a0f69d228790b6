//go:build perf

package perf_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/events"
	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
	"k8s.io/kubernetes/pkg/scheduler/profile"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/plugin"
)

// TestEverySchedulerTakesWhoIsLetIn runs the schedulers of Queues with the hold, on a client that keeps what it is told in memory: nobody
// gets a node while somebody is missing, and everybody does afterwards.
func TestEverySchedulerTakesWhoIsLetIn(t *testing.T) {
	const pods, patience = 3, time.Minute
	for _, c := range contestants {
		t.Run(c.Title, func(t *testing.T) {
			file, err := withHold(t.TempDir(), c.Configuration, c.Name)
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			decoded, _, err := scheme.Codecs.UniversalDecoder().Decode(text, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node"}}
			node.Status.Allocatable = v1.ResourceList{v1.ResourceCPU: resource.MustParse("16"), v1.ResourceMemory: resource.MustParse("64Gi"), v1.ResourcePods: resource.MustParse("110")}
			node.Status.Capacity = node.Status.Allocatable
			client := fake.NewClientset(node, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
			h := newHold(pods)
			informers := scheduler.NewInformerFactory(client, 0, nil)
			sched, err := scheduler.New(t.Context(), client, informers, nil,
				profile.NewRecorderFactory(events.NewBroadcaster(&events.EventSinkImpl{Interface: client.EventsV1()})),
				scheduler.WithProfiles(decoded.(*config.KubeSchedulerConfiguration).Profiles...),
				scheduler.WithFrameworkOutOfTreeRegistry(frameworkruntime.Registry{
					plugin.Name: plugin.Factory(clock.RealClock{}, plugin.Process{}), ceilingName: newCeiling, holdName: h.factory,
				}))
			if err != nil {
				t.Fatal(err)
			}
			informers.Start(t.Context().Done())
			informers.WaitForCacheSync(t.Context().Done())
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				sched.Run(ctx)
				close(ended)
			}()
			defer func() {
				cancel()
				<-ended
			}()
			for i := range pods {
				name := fmt.Sprint("pod-", i)
				pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(name)}}
				pod.Spec.SchedulerName = c.Name
				pod.Spec.Containers = []v1.Container{{Name: "main", Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("1")}}}}
				if _, err := client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			select {
			case <-h.all:
			case <-time.After(patience):
				t.Fatal("the scheduler has not got all pods")
			}
			if got := bindings(client); got != 0 {
				t.Errorf("%d pods are bound before they are let in", got)
			}
			h.release()
			if err := wait.PollUntilContextTimeout(ctx, 10*time.Millisecond, patience, true, func(context.Context) (bool, error) {
				return bindings(client) == pods, nil
			}); err != nil {
				t.Errorf("%d of %d pods are bound: %v", bindings(client), pods, err)
			}
		})
	}
}

// bindings is how many pods somebody has bound.
func bindings(client *fake.Clientset) (count int) {
	for _, action := range client.Actions() {
		if action.Matches("create", "pods/binding") {
			count++
		}
	}
	return count
}
