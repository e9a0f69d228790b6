package sparksim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/test/cluster"
)

// play does what a driver does now. wake is when to do so again even if nothing happens; zero means never.
func (s *Simulator) play(ctx context.Context, key driverKey) (wake time.Time, err error) {
	pod, exists, err := s.pod(key)
	if err != nil {
		return time.Time{}, err
	}
	if !exists {
		s.forget(key)
		return time.Time{}, nil // its executors are the garbage collector's
	}
	switch pod.Status.Phase {
	case v1.PodSucceeded, v1.PodFailed:
		s.forget(key)
		return time.Time{}, s.abandon(ctx, key)
	case v1.PodRunning:
	default:
		return time.Time{}, nil
	}
	p := s.played(key)
	if pod.DeletionTimestamp != nil || p.ended {
		return time.Time{}, nil
	}
	now := s.config.Clock.Now()
	if p.driver == nil {
		if p.driver, err = s.start(ctx, now, pod); err != nil {
			var refused refusal
			if errors.As(err, &refused) {
				// So does Spark's driver when it cannot use a setting.
				klog.FromContext(ctx).Info("Driver fails", "driver", klog.KObj(pod), "problem", err.Error())
				p.ended, err = true, s.finish(ctx, pod, v1.PodFailed)
			}
			return time.Time{}, err
		}
	}
	if now.Before(p.driver.started) {
		return p.driver.started, nil
	}
	script, err := readScript(pod)
	if err != nil {
		klog.FromContext(ctx).Info("Driver does nothing", "driver", klog.KObj(pod), "problem", err.Error())
		return time.Time{}, nil // until somebody changes the annotation
	}
	executors, err := s.executors(key)
	if err != nil {
		return time.Time{}, err
	}
	for _, id := range s.takeVanished(p) {
		delete(p.driver.unseen, id)
	}
	plan := p.driver.step(now, script, executors)
	if plan.end != "" {
		if err := s.end(ctx, p.driver, plan.end, executors); err != nil {
			return time.Time{}, err
		}
		p.ended = true
		return time.Time{}, nil
	}
	return plan.wake, s.perform(ctx, p.driver, plan)
}

func (s *Simulator) played(key driverKey) *played {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drivers[key] == nil {
		s.drivers[key] = &played{}
	}
	return s.drivers[key]
}

func (s *Simulator) forget(key driverKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.drivers, key)
}

func (s *Simulator) takeVanished(p *played) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	vanished := p.vanished
	p.vanished = nil
	return vanished
}

// refusal is an error that ends the driver: its configuration cannot be used.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// start reads the configuration that a driver mounts, as the container of a real one would find it.
func (s *Simulator) start(ctx context.Context, now time.Time, pod *v1.Pod) (*driver, error) {
	d := &driver{pod: pod, started: now.Add(s.config.StartUp), unseen: map[int]time.Time{}}
	refs := spark.ConfigMaps(pod)
	if refs.Properties == "" {
		return d, nil // not submitted by spark-submit: it works alone
	}
	properties, err := s.config.Client.CoreV1().ConfigMaps(pod.Namespace).Get(ctx, refs.Properties, metav1.GetOptions{})
	if err != nil {
		return nil, err // a kubelet does not start the container without it either
	}
	var template *v1.Pod
	if refs.Template != "" {
		configMap, err := s.config.Client.CoreV1().ConfigMaps(pod.Namespace).Get(ctx, refs.Template, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		if template, err = spark.TemplateOf(configMap, pod); err != nil {
			return nil, refusal{err}
		}
	}
	if err := d.configure(properties, template); err != nil {
		return nil, refusal{err}
	}
	if err := s.createConfigMap(ctx, d); err != nil {
		return nil, err
	}
	executors, err := s.executors(driverKey{pod.Namespace, pod.Name, pod.UID})
	if err != nil {
		return nil, err
	}
	for _, executor := range executors {
		d.lastID = max(d.lastID, executorID(executor)) // an earlier Simulator made them
	}
	return d, nil
}

// createConfigMap makes what the executors mount, once.
func (s *Simulator) createConfigMap(ctx context.Context, d *driver) error {
	if !d.settings.configMap || d.role == nil {
		return nil
	}
	_, err := s.config.Client.CoreV1().ConfigMaps(d.pod.Namespace).Create(ctx, d.configMap(), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create the executors' ConfigMap: %w", err)
	}
	return nil
}

// configure takes over the properties and what the application's code sets.
func (d *driver) configure(properties *v1.ConfigMap, template *v1.Pod) error {
	if code := d.pod.Annotations[AnnotationCode]; code != "" {
		properties = properties.DeepCopy()
		properties.Data[propertiesFile] += "\n" + code // the last of several equal keys wins
	}
	known, err := spark.PropertiesOf(properties, d.pod)
	if err != nil {
		return err
	}
	all, err := parseProperties(properties.Data[propertiesFile])
	if err != nil {
		return err
	}
	version, err := spark.ParseVersion(d.pod.Labels[spark.LabelVersion])
	if err != nil {
		return err
	}
	definition, err := spark.Infer(d.pod, known, template, everyScheduler(known, d.pod)...)
	if err != nil {
		return err
	}
	if len(definition.Roles) > 0 {
		d.role = &definition.Roles[0]
	}
	if d.settings, err = readSettings(all, version, d.role); err != nil {
		return err
	}
	d.prefix = executorPrefix(d.settings, d.pod.UID)
	return nil
}

// everyScheduler names every scheduler that executors could be for: a driver creates them whoever places them.
func everyScheduler(properties spark.Properties, driver *v1.Pod) []string {
	return []string{
		driver.Spec.SchedulerName, v1.DefaultSchedulerName, "",
		properties["spark.kubernetes.scheduler.name"].Text, properties["spark.kubernetes.executor.scheduler.name"].Text,
	}
}

// perform creates and deletes executors one after the other, as Spark does. What cannot be created is tried again in
// the next round, with a new id.
func (s *Simulator) perform(ctx context.Context, d *driver, p plan) error {
	pods := s.config.Client.CoreV1().Pods(d.pod.Namespace)
	for _, id := range p.create {
		if _, err := pods.Create(ctx, d.executor(id), metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			delete(d.unseen, id)
			klog.FromContext(ctx).Info("Executor not created", "driver", klog.KObj(d.pod), "executor", id, "problem", err.Error())
		}
	}
	for _, executor := range p.remove {
		if err := s.remove(ctx, executor); err != nil {
			return err
		}
	}
	return nil
}

func (s *Simulator) remove(ctx context.Context, executor *v1.Pod) error {
	err := s.config.Client.CoreV1().Pods(executor.Namespace).Delete(ctx, executor.Name, metav1.DeleteOptions{Preconditions: preconditions(executor)})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete executor %s: %w", executor.Name, err)
	}
	return nil
}

func preconditions(pod *v1.Pod) *metav1.Preconditions {
	if pod.UID == "" {
		return nil
	}
	return &metav1.Preconditions{UID: &pod.UID}
}

// end ends a driver. One that ends in good order deletes its executors first; one that crashes leaves them: those
// that run end by themselves, as they have lost their driver.
func (s *Simulator) end(ctx context.Context, d *driver, outcome v1.PodPhase, executors []*v1.Pod) error {
	if outcome == v1.PodFailed {
		return s.finish(ctx, d.pod, outcome)
	}
	if !d.settings.deleteEnded {
		for _, executor := range countExecutors(executors).running {
			if err := s.finish(ctx, executor, v1.PodSucceeded); err != nil {
				return err
			}
		}
		return s.finish(ctx, d.pod, outcome)
	}
	for id := range d.unseen {
		executors = append(executors, &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: d.pod.Namespace, Name: d.executor(id).Name}})
	}
	for _, executor := range executors {
		if executor.DeletionTimestamp != nil {
			continue
		}
		if err := s.remove(ctx, executor); err != nil {
			return err
		}
	}
	if err := s.cleanUp(ctx, d); err != nil {
		return err
	}
	return s.finish(ctx, d.pod, outcome)
}

// cleanUp deletes what a driver that ends in good order does not leave behind besides its executors.
func (s *Simulator) cleanUp(ctx context.Context, d *driver) error {
	api := s.config.Client.CoreV1()
	var errs []error
	if d.settings.configMap && d.role != nil {
		errs = append(errs, api.ConfigMaps(d.pod.Namespace).Delete(ctx, d.configMapName(), metav1.DeleteOptions{}))
	}
	if service, _, found := strings.Cut(d.settings.driverHost, "."); found {
		errs = append(errs, api.Services(d.pod.Namespace).Delete(ctx, service, metav1.DeleteOptions{}))
	}
	for _, err := range errs {
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("clean up after %s: %w", d.pod.Name, err)
		}
	}
	return nil
}

// abandon ends those executors of a driver that has ended which run, also when they begin to run only later.
func (s *Simulator) abandon(ctx context.Context, key driverKey) error {
	executors, err := s.executors(key)
	if err != nil {
		return err
	}
	for _, executor := range countExecutors(executors).running {
		if executor.Annotations[cluster.FinishAnnotation] != "" {
			continue
		}
		if err := s.finish(ctx, executor, v1.PodFailed); err != nil {
			return err
		}
	}
	return nil
}

// finish lets the fake node end a pod.
func (s *Simulator) finish(ctx context.Context, pod *v1.Pod, outcome v1.PodPhase) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid":         pod.UID,
		"annotations": map[string]string{cluster.FinishAnnotation: string(outcome)},
	}})
	if err != nil {
		return fmt.Errorf("finish %s: %w", pod.Name, err)
	}
	_, err = s.config.Client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("finish %s: %w", pod.Name, err)
	}
	return nil
}
