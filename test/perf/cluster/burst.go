package main

import (
	"context"
	"fmt"
	"os"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"

	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/test/cluster"
	"retinue.dev/retinue/test/perf/figures"
	"retinue.dev/retinue/test/perf/requests"
)

// burst is many small applications that are submitted at once.
var burst = shape{1500, 1}

const burstNodes = 100

// counted is a burst and what was asked of the API server meanwhile, besides what the test itself asks.
type counted struct {
	outcome
	requests requests.Counts
}

// bursts runs the burst with every scheduler, by turns.
func (s *stage) bursts(ctx context.Context, rounds int) (section, error) {
	outcomes := map[cluster.Component][]counted{}
	for round := range rounds {
		first := round % len(schedulers)
		for _, scheduler := range slices.Concat(schedulers[first:], schedulers[:first]) {
			o, err := s.burst(ctx, scheduler)
			if err != nil {
				return section{}, err
			}
			fmt.Fprintf(os.Stderr, "burst of %s on %d nodes, round %d, %s: all bound after %.2f s, %.2f s of processor time, %s\n",
				burst, s.nodes, round+1, titles[scheduler], o.took.Seconds(), o.cpu, o.requests.Each(burst.applications))
			outcomes[scheduler] = append(outcomes[scheduler], o)
		}
	}
	return burstSection(s.nodes, outcomes), nil
}

// comparedInBurst are the figures of a burst that ranges speak of.
var comparedInBurst = map[string]func(counted) float64{
	compared[0]:                func(o counted) float64 { return o.took.Seconds() },
	"requests per application": func(o counted) float64 { return o.requests.Total() / float64(burst.applications) },
}

func burstSection(nodes int, outcomes map[cluster.Component][]counted) section {
	workload := fmt.Sprintf("burst of %s on %d nodes", burst, nodes)
	result := section{name: "cluster-burst", measured: map[figures.Key]figures.Spread{}}
	bound := [][]string{{"burst, nodes", "scheduler", "all bound after s", "ratio", "scheduler CPU s per 1,000 pods"}}
	asked := map[string][]requests.Counts{} // scheduler -> runs
	var columns []string
	for _, scheduler := range schedulers {
		var took, cpu []float64
		ratios := map[string][]float64{} // figure -> of each round
		for i, o := range outcomes[scheduler] {
			took = append(took, o.took.Seconds())
			cpu = append(cpu, o.cpu*1000/float64(burst.pods()))
			asked[titles[scheduler]] = append(asked[titles[scheduler]], o.requests)
			for figure, of := range comparedInBurst {
				ratios[figure] = append(ratios[figure], of(o)/of(outcomes[cluster.DefaultScheduler][i]))
			}
		}
		ratio := ""
		if scheduler != cluster.DefaultScheduler {
			for figure, values := range ratios {
				result.measured[figures.Key{Workload: workload, Figure: figure, Baseline: titles[cluster.DefaultScheduler]}] = figures.SpreadOf(values)
			}
			ratio = figures.SpreadOf(ratios[compared[0]]).Format("%.2f")
		}
		bound = append(bound, []string{fmt.Sprintf("%s, %d", burst, nodes), titles[scheduler], figures.SpreadOf(took).Format("%.2f"), ratio, figures.SpreadOf(cpu).Format("%.2f")})
		columns = append(columns, titles[scheduler])
	}
	result.tables = [][][]string{bound, requests.Table(burst.applications, columns, asked, func(values []float64) string {
		return figures.SpreadOf(values).Format("%.2f")
	})}
	return result
}

// burst runs the burst with a scheduler that is started for it, and leaves the cluster empty.
func (s *stage) burst(ctx context.Context, scheduler cluster.Component) (o counted, err error) {
	if err := s.start(ctx, scheduler); err != nil {
		return o, err
	}
	before, err := requests.Settled(ctx, s.client)
	if err != nil {
		return o, err
	}
	started, err := s.processorTime(scheduler)
	if err != nil {
		return o, err
	}
	o.begun, err = s.runAs(ctx, burst, scheduler, "app", submission{
		submit:   func(ctx context.Context, name string) error { return s.submitSpark(ctx, name, names[scheduler]) },
		executor: sparkExecutor,
	})
	if err != nil {
		return o, err
	}
	ended, err := s.processorTime(scheduler)
	if err != nil {
		return o, err
	}
	o.cpu = (ended - started).Seconds()
	after, err := requests.Settled(ctx, s.client) // events are written behind the bindings
	if err != nil {
		return o, err
	}
	o.requests = after.Since(before)
	if err := s.cluster.StopComponent(ctx, scheduler); err != nil {
		return o, err
	}
	for _, resource := range []string{"configmaps", "services"} {
		if err := s.client.CoreV1().RESTClient().Delete().Namespace(namespace).Resource(resource).
			VersionedParams(&metav1.ListOptions{LabelSelector: spark.LabelApp}, scheme.ParameterCodec).Do(ctx).Error(); err != nil {
			return o, fmt.Errorf("delete %s: %w", resource, err)
		}
	}
	return o, s.deletePods(ctx, metav1.ListOptions{})
}

// submitSpark creates a driver as spark-submit does, then its headless Service, and last its ConfigMap.
func (s *stage) submitSpark(ctx context.Context, name, scheduler string) error {
	driver := pod(name, scheduler, 1)
	driver.Labels = map[string]string{spark.LabelRole: spark.RoleDriver, spark.LabelApp: name, spark.LabelVersion: "4.1.0"}
	driver.Spec.Volumes = []v1.Volume{{Name: "spark-conf-volume-driver", VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{
		LocalObjectReference: v1.LocalObjectReference{Name: name + "-conf"},
	}}}}
	created, err := s.client.CoreV1().Pods(namespace).Create(ctx, driver, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create pod %s: %w", name, err)
	}
	ofDriver := metav1.ObjectMeta{
		Namespace: namespace, Labels: map[string]string{spark.LabelApp: name},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: name, UID: created.UID}},
	}
	service := &v1.Service{
		ObjectMeta: *ofDriver.DeepCopy(),
		Spec:       v1.ServiceSpec{ClusterIP: v1.ClusterIPNone, Selector: driver.Labels, Ports: []v1.ServicePort{{Name: "driver-rpc-port", Port: 7078}}},
	}
	service.Name = name + "-driver-svc"
	if _, err := s.client.CoreV1().Services(namespace).Create(ctx, service, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create Service of %s: %w", name, err)
	}
	properties := &v1.ConfigMap{
		ObjectMeta: ofDriver,
		Data: map[string]string{"spark.properties": fmt.Sprintf(
			"spark.kubernetes.scheduler.name=%s\nspark.executor.instances=%d\nspark.executor.cores=1\nspark.executor.memory=1g\n", scheduler, burst.executors)},
	}
	properties.Name = name + "-conf"
	if _, err := s.client.CoreV1().ConfigMaps(namespace).Create(ctx, properties, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create ConfigMap of %s: %w", name, err)
	}
	return nil
}

// sparkExecutor is an executor as a driver of Spark creates it.
func sparkExecutor(of *v1.Pod, i int) *v1.Pod {
	yes := true
	p := pod(fmt.Sprintf("%s-exec-%d", of.Name, i+1), of.Spec.SchedulerName, 1)
	p.Labels = map[string]string{
		spark.LabelRole: spark.RoleExecutor, spark.LabelApp: of.Labels[spark.LabelApp], spark.LabelExecutorID: fmt.Sprint(i + 1), spark.LabelResourceProfile: "0", spark.LabelVersion: "4.1.0",
	}
	p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: of.Name, UID: of.UID, Controller: &yes}}
	p.Spec.Containers[0].Resources.Requests[v1.ResourceMemory] = resource.MustParse("1408Mi")
	return p
}
