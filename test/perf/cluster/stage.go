package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/test/cluster"
)

const (
	// namespace of all pods.
	namespace = metav1.NamespaceDefault
	// writers is how many requests are under way at a time.
	writers = 30
	// patience is how long anything may take.
	patience = 15 * time.Minute

	nodeCPU, nodeMemory, nodePods = 128, "512Gi", 110
)

// stage is a cluster with nodes and without a scheduler.
type stage struct {
	cluster *cluster.Cluster
	client  kubernetes.Interface
	nodes   int
}

func newStage(ctx context.Context, dir string, nodes int) (*stage, error) {
	c, err := cluster.Start(ctx, cluster.Config{Dir: dir, Components: []cluster.Component{cluster.Etcd, cluster.APIServer}, ExpectedNodes: nodes, Progress: os.Stderr})
	if err != nil {
		return nil, err
	}
	s := &stage{cluster: c, client: c.Client(), nodes: nodes}
	// No controller manager makes the account that every pod runs under.
	account := &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := s.client.CoreV1().ServiceAccounts(namespace).Create(ctx, account, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return s, err
	}
	return s, c.EnsureNodes(ctx, cluster.Nodes{Count: nodes, CPU: strconv.Itoa(nodeCPU), Memory: nodeMemory, Pods: nodePods})
}

// pod asks for some cores.
func pod(name, scheduler string, cores int64) *v1.Pod {
	no := false
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1.PodSpec{
			SchedulerName:                scheduler,
			AutomountServiceAccountToken: &no,
			Containers: []v1.Container{{
				Name: "main", Image: "registry.k8s.io/pause",
				Resources: v1.ResourceRequirements{Requests: v1.ResourceList{
					v1.ResourceCPU: *resource.NewQuantity(cores, resource.DecimalSI), v1.ResourceMemory: *resource.NewQuantity(2<<30, resource.BinarySI),
				}},
			}},
		},
	}
}

// driver leads a gang with executors of one core, or of as many as are given.
func driver(name, scheduler string, executors int, cores int64) *v1.Pod {
	p := pod(name, scheduler, 1)
	p.Labels = map[string]string{spark.LabelGang: name}
	p.Annotations = map[string]string{spark.AnnotationRoles: fmt.Sprintf(`[{name: executor, count: %d, requests: {cpu: "%d", memory: 2Gi}}]`, executors, cores)}
	return p
}

func executor(of *v1.Pod, i int) *v1.Pod {
	p := pod(fmt.Sprintf("%s-exec-%d", of.Name, i+1), of.Spec.SchedulerName, 1)
	p.Labels = map[string]string{spark.LabelGang: of.Labels[spark.LabelGang], spark.LabelGangRole: "executor"}
	return p
}

func (s *stage) create(ctx context.Context, p *v1.Pod) error {
	if _, err := s.client.CoreV1().Pods(p.Namespace).Create(ctx, p, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create pod %s: %w", p.Name, err)
	}
	return nil
}

// createAll creates pods, several at a time.
func (s *stage) createAll(ctx context.Context, count int, make func(int) *v1.Pod) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for i := range count {
		group.Go(func() error { return s.create(ctx, make(i)) })
	}
	return group.Wait()
}

// start starts a scheduler and returns when it has bound a pod: then it has read the cluster and is warm.
func (s *stage) start(ctx context.Context, scheduler cluster.Component) error {
	if err := s.cluster.StartComponent(ctx, scheduler); err != nil {
		return err
	}
	if err := s.create(ctx, pod("warm-up", names[scheduler], 1)); err != nil {
		return err
	}
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		p, err := s.client.CoreV1().Pods(namespace).Get(ctx, "warm-up", metav1.GetOptions{})
		return err == nil && p.Spec.NodeName != "", err
	})
	if err != nil {
		return fmt.Errorf("%s binds nothing: %w", scheduler, err)
	}
	return s.deletePods(ctx, metav1.ListOptions{FieldSelector: "metadata.name=warm-up"})
}

// deletePods returns when they are gone.
func (s *stage) deletePods(ctx context.Context, which metav1.ListOptions) error {
	now := int64(0)
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		err := s.client.CoreV1().Pods(namespace).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, which)
		if err != nil && !apierrors.IsTimeout(err) && !apierrors.IsServerTimeout(err) {
			return false, err
		}
		one := which
		one.Limit = 1
		left, err := s.client.CoreV1().Pods(namespace).List(ctx, one)
		return err == nil && len(left.Items) == 0, err
	})
}

// processorTime that a component's process has taken.
func (s *stage) processorTime(component cluster.Component) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cluster.PID(component)))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything. utime and stime are fields 14 and 15, in hundredths of a second.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks int64
	for _, field := range fields[11:13] {
		value, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += value
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// memory in MiB that a component's process has in use; most is the most it has had.
func (s *stage) memory(component cluster.Component) (now, most float64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cluster.PID(component)))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		kilobytes, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
		switch name {
		case "VmRSS":
			now = kilobytes / 1024
		case "VmHWM":
			most = kilobytes / 1024
		}
	}
	return now, most, nil
}

// start of applications of a shape.
type begun struct {
	took time.Duration   // from the first request to the last binding
	each []time.Duration // index: application; from the request for its driver to its last binding
}

// submission is how drivers and executors are made.
type submission struct {
	submit   func(ctx context.Context, name string) error
	executor func(of *v1.Pod, i int) *v1.Pod
}

// run submits the drivers of a shape, creates executors of those that are bound, and returns when all pods are bound.
func (s *stage) run(ctx context.Context, shape shape, scheduler cluster.Component, prefix string) (begun, error) {
	return s.runAs(ctx, shape, scheduler, prefix, submission{
		submit: func(ctx context.Context, name string) error {
			return s.create(ctx, driver(name, names[scheduler], shape.executors, 1))
		},
		executor: executor,
	})
}

func (s *stage) runAs(ctx context.Context, shape shape, scheduler cluster.Component, prefix string, as submission) (begun, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	type seen struct {
		pod *v1.Pod
		at  time.Time
	}
	bound := make(chan seen, shape.pods())
	factory := informers.NewSharedInformerFactoryWithOptions(s.client, 0, informers.WithNamespace(namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.FieldSelector = "spec.nodeName!=" }))
	notice := func(object any) {
		if p := object.(*v1.Pod); strings.HasPrefix(p.Name, prefix) {
			bound <- seen{p, time.Now()}
		}
	}
	// With the selector a pod appears when it is bound.
	if _, err := factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: notice}); err != nil {
		return begun{}, err
	}
	watching, end := context.WithCancel(ctx)
	defer factory.Shutdown()
	defer end()
	factory.Start(watching.Done())
	factory.WaitForCacheSync(watching.Done())

	creating, ctx := errgroup.WithContext(ctx)
	creating.SetLimit(writers)
	requested := make([]atomic.Int64, shape.applications) // index: application; when its driver was, since first
	// Pods of an application that are not bound; index: application.
	left := slices.Repeat([]int{1 + shape.executors}, shape.applications)
	result := begun{each: make([]time.Duration, shape.applications)}
	first := time.Now()
	go func() { // ends with the drivers
		for i := range shape.applications {
			requested[i].Store(int64(time.Since(first)))
			creating.Go(func() error {
				return as.submit(ctx, fmt.Sprint(prefix, i))
			})
		}
	}()
	for remaining := shape.pods(); remaining > 0; remaining-- {
		var b seen
		select {
		case <-ctx.Done():
			return begun{}, fmt.Errorf("%s of %s: %d pods are not bound: %w", shape, titles[scheduler], remaining, context.Cause(ctx))
		case b = <-bound:
		}
		app, role, _ := strings.Cut(strings.TrimPrefix(b.pod.Name, prefix), "-")
		i, err := strconv.Atoi(app)
		if err != nil {
			return begun{}, err
		}
		if role == "" {
			go func() { // ends with the executors
				for n := range shape.executors {
					creating.Go(func() error { return s.create(ctx, as.executor(b.pod, n)) })
				}
			}()
		}
		if left[i]--; left[i] == 0 {
			result.each[i] = b.at.Sub(first) - time.Duration(requested[i].Load())
		}
		result.took = b.at.Sub(first)
	}
	return result, creating.Wait()
}
