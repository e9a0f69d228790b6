//go:build perf

package perf_test

import (
	"context"
	"fmt"
	"strconv"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/spark"
)

// submit creates what spark-submit creates after a driver: its headless Service, and last its ConfigMap.
func (o *observer) submit(ctx context.Context, driver *v1.Pod) error {
	owned := metav1.ObjectMeta{
		Namespace: driver.Namespace, Labels: map[string]string{spark.LabelApp: driver.Labels[spark.LabelApp]},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: driver.Name, UID: driver.UID}},
	}
	service := &v1.Service{
		ObjectMeta: *owned.DeepCopy(),
		Spec:       v1.ServiceSpec{ClusterIP: v1.ClusterIPNone, Selector: driver.Labels, Ports: []v1.ServicePort{{Name: "driver-rpc-port", Port: 7078}}},
	}
	service.Name = driver.Name + "-driver-svc"
	if _, err := o.client.CoreV1().Services(driver.Namespace).Create(ctx, service, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create Service of %s: %w", driver.Name, err)
	}
	properties := &v1.ConfigMap{ObjectMeta: owned, Data: map[string]string{"spark.properties": fmt.Sprintf(
		"spark.kubernetes.scheduler.name=%s\nspark.executor.instances=%d\nspark.executor.cores=1\nspark.executor.memory=1g\n", driver.Spec.SchedulerName, o.shape.executors)}}
	properties.Name = spark.ConfigMaps(driver).Properties
	if _, err := o.client.CoreV1().ConfigMaps(driver.Namespace).Create(ctx, properties, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create ConfigMap of %s: %w", driver.Name, err)
	}
	return nil
}

// likeSpark makes a pod an executor as a driver of Spark creates it.
func likeSpark(executor, driver *v1.Pod, number int) {
	yes := true
	executor.Labels = map[string]string{
		spark.LabelRole: spark.RoleExecutor, spark.LabelApp: driver.Labels[spark.LabelApp], spark.LabelExecutorID: strconv.Itoa(number),
		spark.LabelResourceProfile: "0", spark.LabelVersion: driver.Labels[spark.LabelVersion],
	}
	executor.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: driver.Name, UID: driver.UID, Controller: &yes}}
	executor.Spec.Volumes = nil
	executor.Spec.Containers[0].Resources.Requests[v1.ResourceMemory] = resource.MustParse("1408Mi")
}
