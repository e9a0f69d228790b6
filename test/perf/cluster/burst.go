package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/test/cluster"
	"retinue.dev/retinue/test/perf/figures"
)

// burst is many small applications that are submitted at once.
var burst = shape{1500, 1}

const burstNodes = 100

// requestKind is what requests to the API server are counted by.
type requestKind struct{ verb, resource string }

func (k requestKind) String() string { return k.verb + " " + k.resource }

// counted is a burst and what was asked of the API server meanwhile, besides what the test itself asks.
type counted struct {
	outcome
	requests map[requestKind]float64
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
				burst, s.nodes, round+1, titles[scheduler], o.took.Seconds(), o.cpu, perApplication(o.requests))
			outcomes[scheduler] = append(outcomes[scheduler], o)
		}
	}
	return burstSection(s.nodes, outcomes), nil
}

func burstSection(nodes int, outcomes map[cluster.Component][]counted) section {
	result := section{name: "cluster-burst", measured: map[figures.Key]figures.Spread{}, rows: [][]string{
		{"burst, nodes", "scheduler", "all bound after s", "ratio", "requests per application", "of which"}}}
	for _, scheduler := range schedulers {
		var took, ratios, requests []float64
		for i, o := range outcomes[scheduler] {
			theirs := outcomes[cluster.DefaultScheduler][i]
			took = append(took, o.took.Seconds())
			ratios = append(ratios, o.took.Seconds()/theirs.took.Seconds())
			requests = append(requests, total(o.requests)/float64(burst.applications))
		}
		ratio := ""
		if scheduler != cluster.DefaultScheduler {
			spread := figures.SpreadOf(ratios)
			ratio = spread.Format("%.2f")
			result.measured[figures.Key{Workload: fmt.Sprintf("burst of %s on %d nodes", burst, nodes), Figure: compared[0], Baseline: titles[cluster.DefaultScheduler]}] = spread
		}
		last := outcomes[scheduler][len(outcomes[scheduler])-1]
		result.rows = append(result.rows, []string{fmt.Sprintf("%s, %d", burst, nodes), titles[scheduler],
			figures.SpreadOf(took).Format("%.2f"), ratio, figures.SpreadOf(requests).Format("%.2f"), perApplication(last.requests)})
	}
	return result
}

func total(requests map[requestKind]float64) (sum float64) {
	for _, count := range requests {
		sum += count
	}
	return sum
}

// perApplication lists requests by kind, the most frequent first, without what is rare.
func perApplication(requests map[requestKind]float64) string {
	var parts []string
	for _, kind := range slices.SortedFunc(maps.Keys(requests), func(a, b requestKind) int {
		return cmp.Or(cmp.Compare(requests[b], requests[a]), strings.Compare(a.String(), b.String()))
	}) {
		if each := requests[kind] / float64(burst.applications); each >= 0.01 {
			parts = append(parts, fmt.Sprintf("%s %.2f", kind, each))
		}
	}
	return strings.Join(parts, ", ")
}

// burst runs the burst with a scheduler that is started for it, and leaves the cluster empty.
func (s *stage) burst(ctx context.Context, scheduler cluster.Component) (o counted, err error) {
	if err := s.start(ctx, scheduler); err != nil {
		return o, err
	}
	before, err := s.requests(ctx)
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
	if o.requests, err = s.requests(ctx); err != nil {
		return o, err
	}
	for kind := range o.requests {
		o.requests[kind] -= before[kind]
	}
	if err := s.cluster.StopComponent(ctx, scheduler); err != nil {
		return o, err
	}
	if err := s.client.CoreV1().ConfigMaps(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: spark.LabelApp}); err != nil {
		return o, err
	}
	return o, s.deletePods(ctx, metav1.ListOptions{})
}

// submitSpark creates a driver as spark-submit does, and then its ConfigMap.
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
	properties := &v1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name + "-conf", Labels: map[string]string{spark.LabelApp: name},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: name, UID: created.UID}},
		},
		Data: map[string]string{"spark.properties": fmt.Sprintf(
			"spark.kubernetes.scheduler.name=%s\nspark.executor.instances=%d\nspark.executor.cores=1\nspark.executor.memory=1g\n", scheduler, burst.executors)},
	}
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

// requests that the API server has answered so far, by kind, without those of the test: it creates pods and ConfigMaps, lists,
// and reads metrics.
func (s *stage) requests(ctx context.Context) (map[requestKind]float64, error) {
	text, err := s.client.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("metrics of the API server: %w", err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("metrics of the API server: %w", err)
	}
	found := map[requestKind]float64{}
	for _, metric := range families["apiserver_request_total"].GetMetric() {
		labels := map[string]string{}
		for _, label := range metric.Label {
			labels[label.GetName()] = label.GetValue()
		}
		kind := requestKind{labels["verb"], labels["resource"]}
		if sub := labels["subresource"]; sub != "" {
			kind.resource += "/" + sub
		}
		switch {
		case kind == requestKind{"POST", "pods"}, kind == requestKind{"POST", "configmaps"}, kind.resource == "":
			continue
		case slices.Contains([]string{"LIST", "WATCH", "CONNECT"}, kind.verb):
			continue
		}
		found[kind] += metric.GetCounter().GetValue()
	}
	return found, nil
}
