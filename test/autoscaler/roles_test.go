//go:build autoscaler

package autoscaler

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/spark"
)

// member is a pod of the gang "ray", which nothing plays.
func member(name, role string, requests v1.ResourceList) *v1.Pod {
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{spark.LabelGang: "ray"}},
		Spec:       v1.PodSpec{SchedulerName: "retinue", Containers: []v1.Container{{Name: "main", Image: "pause", Resources: v1.ResourceRequirements{Requests: requests}}}},
	}
	if role != "" {
		pod.Labels[spark.LabelGangRole] = role
	}
	return pod
}

func requests(cpu, memory string) v1.ResourceList {
	return v1.ResourceList{v1.ResourceCPU: apiresource.MustParse(cpu), v1.ResourceMemory: apiresource.MustParse(memory)}
}

// TestAGangOfSeveralRolesIsBoughtWhole: a leader and two kinds of workers, of which one needs memory and the other CPUs. The leader is bound when there
// is room for both, and they need no more than that.
//
// Seen failing when only the first role was asked for: the leader waits for ever.
func TestAGangOfSeveralRolesIsBoughtWhole(t *testing.T) {
	e := start(t, 1000)
	leader := member("head", "", requests("1", "1Gi"))
	leader.Annotations = map[string]string{spark.AnnotationRoles: `[
		{"name": "computes", "count": 4, "requests": {"cpu": 4, "memory": "4Gi"}},
		{"name": "remembers", "count": 2, "requests": {"cpu": 1, "memory": "30Gi"}}]`}
	_, err := e.client.CoreV1().Pods("default").Create(t.Context(), leader, metav1.CreateOptions{})
	require.NoError(t, err)
	most := 0
	e.await("the leader has a node", func(ctx context.Context) (bool, error) {
		asked, err := e.asked(ctx)
		if err != nil {
			return false, err
		}
		most = max(most, asked)
		bound, err := e.bound(ctx, spark.LabelGang+"=ray")
		return bound == 1, err
	})
	if *placeholders {
		require.Equal(t, 6, most, "a placeholder for every worker")
	} else {
		require.Equal(t, 2, most, "a buffer for every role")
	}
	bought := e.boughtCPU()
	for i := range 6 {
		worker := member(fmt.Sprint("worker-", i), "computes", requests("4", "4Gi"))
		if i >= 4 {
			worker = member(fmt.Sprint("worker-", i), "remembers", requests("1", "30Gi"))
		}
		_, err := e.client.CoreV1().Pods("default").Create(t.Context(), worker, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	e.awaitBound("the gang", spark.LabelGang+"=ray", 7)
	e.awaitNothingAsked()
	t.Logf("bought %d CPUs for 19", bought)
	require.Equal(t, bought, e.boughtCPU(), "nothing was missing")
	e.end()
	e.awaitNoNodes()
}

// TestWhatALostNodeHeldIsReplaced: a node of a gang that runs goes, as a spot instance does: once with a notice, so that it is drained, and once
// without. The driver goes on, its executors come again on nodes that are bought for them, and nobody is left half.
func TestWhatALostNodeHeldIsReplaced(t *testing.T) {
	e := start(t, 1000)
	e.kubectl("patch", "nodepool", "default", "--type=json", "-p", `[{"op": "add", "path": "/spec/template/spec/requirements/-",
		"value": {"key": "karpenter.kwok.sh/instance-cpu", "operator": "In", "values": ["8"]}}]`)
	e.simulate()
	driver := e.submit("spot", 8, 4)
	e.awaitBound("the gang", application(driver), 9)
	e.awaitNothingAsked()
	for _, loss := range []struct {
		name string
		lose func(node string)
	}{
		{"with notice", func(node string) {
			e.kubectl("delete", "nodeclaim", "--wait=false", e.kubectl("get", "node", node, "-o", "jsonpath={.metadata.ownerReferences[?(@.kind=='NodeClaim')].name}"))
		}},
		{"without notice", func(node string) {
			e.kubectl("patch", "node", node, "--type=merge", "-p", `{"metadata": {"finalizers": null}}`)
			e.kubectl("delete", "node", node, "--wait=false")
		}},
	} {
		lost := ""
		for _, pod := range e.pods(application(driver) + ",spark-role=executor") {
			if on := pod.Spec.NodeName; on != e.pods(application(driver) + ",spark-role=driver")[0].Spec.NodeName {
				lost = on
			}
		}
		require.NotEmpty(t, lost, "all are where the driver is")
		loss.lose(lost)
		e.await("the node has gone, "+loss.name, func(ctx context.Context) (bool, error) {
			_, err := e.client.CoreV1().Nodes().Get(ctx, lost, metav1.GetOptions{})
			return err != nil, nil
		})
		e.await("the gang is whole again", func(ctx context.Context) (bool, error) {
			there := 0
			for _, pod := range e.pods(application(driver) + ",spark-role=executor") {
				if pod.Status.Phase == v1.PodRunning && pod.DeletionTimestamp == nil && pod.Spec.NodeName != lost {
					there++
				}
			}
			return there == 8, nil
		})
		drivers := e.pods(application(driver) + ",spark-role=driver")
		require.Len(t, drivers, 1)
		require.Equal(t, driver.UID, drivers[0].UID, "it is the same")
		require.Equal(t, v1.PodRunning, drivers[0].Status.Phase)
		e.awaitNothingAsked()
	}
	e.end()
	e.awaitNoNodes()
}

// pods are those that a selector selects.
func (e *elastic) pods(selector string) []v1.Pod {
	e.t.Helper()
	list, err := e.client.CoreV1().Pods(metav1.NamespaceAll).List(e.t.Context(), metav1.ListOptions{LabelSelector: selector})
	require.NoError(e.t, err)
	return list.Items
}
