package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/spark"
)

// trialTimeout bounds one trial: two Java processes on a machine with other work.
const trialTimeout = 8 * time.Minute

// apiTimeout is how long Spark waits for the API server, in milliseconds.
const apiTimeout = "60000"

// ourScheduler is what every application asks for, unless the case says otherwise.
const ourScheduler = "retinue"

// trial submits one application with one version of Spark, runs its driver, and compares what it creates with what
// was predicted when only the driver pod existed.
type trial struct {
	home      home
	testCase  testCase
	client    kubernetes.Interface
	server    string // URL of the API server
	authority string // file
	namespace string
	dir       string // scratch
}

// outcome is what a trial found.
type outcome struct {
	predicted   string   // for the table
	executors   int      // real ones
	differences []string // empty means that the prediction was right
}

func (t *trial) run(ctx context.Context) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, trialTimeout)
	defer cancel()
	if err := os.MkdirAll(t.dir, 0o755); err != nil {
		return outcome{}, err
	}
	token, err := makeNamespace(ctx, t.client, t.namespace, t.dir)
	if err != nil {
		return outcome{}, fmt.Errorf("namespace: %w", err)
	}
	if err := t.submit(ctx, token); err != nil {
		return outcome{}, err
	}
	app, err := t.read(ctx)
	if err != nil {
		return outcome{}, err
	}
	definition, err := spark.Infer(app.driver, app.properties, app.template, ourScheduler, "other", "third", v1.DefaultSchedulerName)
	if err != nil {
		return outcome{}, err
	}
	var o outcome
	if err := t.compareDriver(app, &o); err != nil {
		return outcome{}, err
	}
	if err := t.checkOwnScheduler(app, definition, &o); err != nil {
		return outcome{}, err
	}
	return o, t.compareExecutors(ctx, token, app, definition, &o)
}

// submit runs spark-submit in cluster mode until it has made its objects.
func (t *trial) submit(ctx context.Context, token string) error {
	confDir := filepath.Join(t.dir, "no-conf")
	if err := os.MkdirAll(confDir, 0o755); err != nil {
		return err
	}
	args := []string{
		"--master", "k8s://" + t.server,
		"--deploy-mode", "cluster",
		"--name", "trial of " + t.testCase.name,
	}
	conf := []string{
		"spark.kubernetes.namespace=" + t.namespace,
		"spark.kubernetes.scheduler.name=" + ourScheduler,
		"spark.kubernetes.container.image=retinue.test/spark:" + t.home.version,
		"spark.kubernetes.authenticate.submission.caCertFile=" + t.authority,
		"spark.kubernetes.authenticate.submission.oauthTokenFile=" + token,
		"spark.kubernetes.authenticate.driver.serviceAccountName=" + serviceAccount,
		"spark.kubernetes.submission.waitAppCompletion=false",
		// The machine may be busy.
		"spark.kubernetes.submission.connectionTimeout=" + apiTimeout, "spark.kubernetes.submission.requestTimeout=" + apiTimeout,
		"spark.kubernetes.driver.connectionTimeout=" + apiTimeout, "spark.kubernetes.driver.requestTimeout=" + apiTimeout,
	}
	if t.testCase.template != "" {
		file := filepath.Join(t.dir, "template.yaml")
		if err := os.WriteFile(file, []byte(t.testCase.template), 0o644); err != nil {
			return err
		}
		conf = append(conf, "spark.kubernetes.executor.podTemplateFile="+file)
	}
	for _, setting := range append(conf, t.testCase.conf...) {
		args = append(args, "--conf", setting)
	}
	if t.testCase.python {
		args = append(args, "local://"+t.home.python())
	} else {
		args = append(args, "--class", "Application", "local://"+t.home.jar())
	}
	if output, err := t.home.submit(ctx, t.dir, confDir, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("spark-submit: %w\n%s", err, output)
	}
	return nil
}

// application is what the submission left in the cluster.
type application struct {
	driver     *v1.Pod
	files      map[string]string // of the properties ConfigMap: name -> content
	properties spark.Properties
	template   *v1.Pod // nil means that there is none
	// templateText is the template as the driver gets it.
	templateText string
}

// read does what the scheduler does: it finds the driver's ConfigMaps by the driver's volumes.
func (t *trial) read(ctx context.Context) (application, error) {
	pods, err := t.client.CoreV1().Pods(t.namespace).List(ctx, metav1.ListOptions{LabelSelector: spark.LabelRole + "=" + spark.RoleDriver})
	if err != nil {
		return application{}, err
	}
	if len(pods.Items) != 1 || !spark.IsDriver(&pods.Items[0]) {
		return application{}, fmt.Errorf("%d pods are labelled as driver, want 1 that is one", len(pods.Items))
	}
	app := application{driver: &pods.Items[0]}
	refs := spark.ConfigMaps(app.driver)
	if refs.Properties == "" {
		return application{}, errors.New("the driver mounts no properties")
	}
	configMaps := t.client.CoreV1().ConfigMaps(t.namespace)
	properties, err := configMaps.Get(ctx, refs.Properties, metav1.GetOptions{})
	if err != nil {
		return application{}, err
	}
	app.files = properties.Data
	if app.properties, err = spark.PropertiesOf(properties, app.driver); err != nil {
		return application{}, err
	}
	if (refs.Template != "") != (t.testCase.template != "") {
		return application{}, fmt.Errorf("the driver mounts template %q", refs.Template)
	}
	if refs.Template == "" {
		return app, nil
	}
	template, err := configMaps.Get(ctx, refs.Template, metav1.GetOptions{})
	if err != nil {
		return application{}, err
	}
	for _, text := range template.Data {
		app.templateText = text
	}
	app.template, err = spark.TemplateOf(template, app.driver)
	return app, err
}

// compareDriver compares the driver that would be computed from the properties alone.
func (t *trial) compareDriver(app application, o *outcome) error {
	version, err := spark.ParseVersion(t.home.version)
	if err != nil {
		return err
	}
	predicted, err := spark.Driver(app.properties, version)
	if err != nil {
		return err
	}
	for _, difference := range spark.Compare(predicted, app.driver) {
		// An application has a name of its own only once it is submitted.
		if !strings.HasPrefix(difference.Field, "metadata.") {
			o.differences = append(o.differences, "driver "+difference.String())
		}
	}
	if got := app.driver.Labels[spark.LabelVersion]; got != t.home.version {
		o.differences = append(o.differences, fmt.Sprintf("driver label %s: %q", spark.LabelVersion, got))
	}
	return nil
}

// checkOwnScheduler finds out whether slots are kept exactly for executors that come to the driver's own scheduler.
func (t *trial) checkOwnScheduler(app application, definition gang.Definition, o *outcome) error {
	own, err := spark.Infer(app.driver, app.properties, app.template)
	if err != nil {
		return err
	}
	role := definition.Role(spark.RoleExecutor)
	comesHere := role != nil && role.Pod.Spec.SchedulerName == ourScheduler
	if keepsSlots := own.Role(spark.RoleExecutor) != nil; keepsSlots != comesHere {
		o.differences = append(o.differences, fmt.Sprintf("slots are kept: %v, executors come to this scheduler: %v", keepsSlots, comesHere))
	}
	return nil
}

func (t *trial) compareExecutors(ctx context.Context, token string, app application, definition gang.Definition, o *outcome) error {
	role := definition.Role(spark.RoleExecutor)
	want := 0
	o.predicted = "no executors"
	if role != nil {
		want = role.Count
		o.predicted = fmt.Sprintf("%d × %s", role.Count, role.Requests)
	}
	if t.testCase.executors >= 0 && want != t.testCase.executors {
		o.differences = append(o.differences, fmt.Sprintf("%d executors predicted, the case has %d", want, t.testCase.executors))
	}
	driver, err := t.startDriver(ctx, token, app)
	if err != nil {
		return err
	}
	defer driver.kill()
	pods, err := t.executors(ctx, driver, want)
	if err != nil {
		return err
	}
	o.executors = len(pods)
	// A StatefulSet is asked for through its replicas, for each of which a pod was returned.
	asked := driver.asked()
	if t.testCase.statefulSet {
		asked = len(pods)
	}
	if expected := cmp.Or(t.testCase.asked, want); asked != expected {
		o.differences = append(o.differences, fmt.Sprintf("the driver asked for %d executors instead of %d", asked, expected))
	}
	if len(pods) != want {
		o.differences = append(o.differences, fmt.Sprintf("%d executors instead of %d", len(pods), want))
	}
	for _, pod := range pods {
		if !matches(role.Selector, pod.Labels) || !spark.InDefaultProfile(&pod) {
			o.differences = append(o.differences, fmt.Sprintf("executor %s is not of role %s: labels %v", pod.Name, role.Name, pod.Labels))
		}
		var found []string
		for _, difference := range spark.Compare(role.Pod, &pod) {
			found = append(found, difference.String())
		}
		for _, text := range append(found, surplus(role.Pod, &pod)...) {
			if text = "executor " + text; !slices.Contains(o.differences, text) {
				o.differences = append(o.differences, text)
			}
		}
	}
	return nil
}

// surplus is what scheduling does not mind but a complete prediction has: every label, and the images.
func surplus(predicted, real *v1.Pod) []string {
	var found []string
	for name, value := range real.Labels {
		if _, known := predicted.Labels[name]; !known && name != spark.LabelExecutorID {
			found = append(found, fmt.Sprintf("label %s=%s was not predicted", name, value))
		}
	}
	for i, container := range real.Spec.Containers {
		if i < len(predicted.Spec.Containers) && predicted.Spec.Containers[i].Image != container.Image {
			found = append(found, fmt.Sprintf("image of %s: %s instead of %s", container.Name, container.Image, predicted.Spec.Containers[i].Image))
		}
	}
	return found
}

func matches(selector, labels map[string]string) bool {
	for key, value := range selector {
		if labels[key] != value {
			return false
		}
	}
	return true
}
