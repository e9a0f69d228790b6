package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/pkg/view"
)

// Exit codes of the check command, beside 0: it fits now, as far as could be seen.
const (
	exitWouldWait = 3
	exitNever     = 4
)

// answered is an error of which everything has been said.
type answered struct{ code int }

func (a answered) Error() string { return fmt.Sprintf("exit code %d", a.code) }

// checkOptions are the arguments of the check command.
type checkOptions struct {
	shown
	files     gangOptions
	scheduler string
}

// checkDocument is the answer. Scripts read it: fields are added, never renamed.
type checkDocument struct {
	view.Assessment
	Namespace string   `json:"namespace"`
	Queue     string   `json:"queue,omitempty"`
	Driver    amounts  `json:"driver"`
	Workers   []worker `json:"workers"`
	// WouldFit is with how many workers instead it would fit now; absent where it fits, or with none.
	WouldFit *int     `json:"wouldFit,omitempty"`
	Warnings []string `json:"warnings"`
}

func newCheckCommand(streams genericiooptions.IOStreams) *cobra.Command {
	o := checkOptions{shown: newShown(streams)}
	command := &cobra.Command{
		Use:   "check (DRIVER-POD | --properties FILE | --driver-pod FILE | -- spark-submit ARGUMENTS)",
		Short: "Say whether an application would start now, would wait and why, or can never run.",
		Long: "Say whether an application would start now: from a driver pod in the cluster, from files, or from the arguments of spark-submit\n" +
			"themselves. Nothing is created, and nothing is needed but the rights that you have; what they do not show is said.\n\n" +
			"The exit code is 0 if nothing that could be seen stands in its way, 3 if it would wait, and 4 if it can never run.",
		Example: "  kubectl retinue check -- spark-submit --num-executors 40 --executor-cores 4 --executor-memory 8g local:///app.jar\n" +
			"  kubectl retinue check --properties my.properties -n etl-prod",
		RunE: func(command *cobra.Command, args []string) error {
			given, dash := args, []string(nil)
			if at := command.ArgsLenAtDash(); at >= 0 {
				given, dash = args[:at], args[at:]
			}
			return o.run(command.Context(), given, dash, command.Flags().Changed("namespace"))
		},
		ValidArgsFunction: completeApps(o.cluster),
	}
	o.add(command, pageOutputs)
	flags := command.Flags()
	flags.StringVar(&o.files.properties, "properties", "", "file with Spark properties, such as spark-defaults.conf")
	flags.StringVar(&o.files.driver, "driver-pod", "", "file with the driver pod; computed from the properties if there is none")
	flags.StringVar(&o.files.template, "executor-template", "", "file with the pod template of the executors")
	flags.StringVar(&o.files.version, "spark-version", "", "version of Spark; the default is that of the driver pod, or "+spark.Latest.String())
	flags.StringVar(&o.scheduler, "scheduler-name", "retinue", "name of the scheduler that applications have to ask for")
	return command
}

// asked is an application that is asked about.
type asked struct {
	application
	namespace string // empty where the application does not say one
	warnings  []string
}

func (o checkOptions) run(ctx context.Context, args, submit []string, namespaceGiven bool) error {
	r, err := connect(o.cluster)
	if err != nil {
		return err
	}
	a, err := o.asked(ctx, r, args, submit)
	if err != nil {
		return err
	}
	switch {
	case a.namespace == "":
	case len(validation.IsDNS1123Label(a.namespace)) > 0:
		return inputError{fmt.Errorf("spark.kubernetes.namespace=%q: not the name of a namespace", a.namespace)}
	case namespaceGiven && a.namespace != r.namespace:
		return inputError{fmt.Errorf("spark.kubernetes.namespace=%q, and --namespace=%q: the application goes to the former", a.namespace, r.namespace)}
	default:
		r.namespace = a.namespace
	}
	document, err := o.assess(ctx, r, a)
	if err != nil {
		return err
	}
	if err := o.page(document, nil, document.write); err != nil {
		return err
	}
	switch document.Result {
	case view.WouldWait:
		return answered{exitWouldWait}
	case view.Never:
		return answered{exitNever}
	}
	return nil
}

// asked reads the application from where the arguments say.
func (o checkOptions) asked(ctx context.Context, r *reader, args, submit []string) (a asked, err error) {
	files := o.files.properties != "" || o.files.driver != ""
	switch {
	case len(args) > 1, len(args) == 1 && (files || submit != nil), files && submit != nil:
		return a, inputError{errors.New("one application at a time: a driver pod, files, or the arguments of spark-submit after --")}
	case len(args) == 1:
		driver, err := r.client.CoreV1().Pods(r.namespace).Get(ctx, podName(args[0]), metav1.GetOptions{})
		if err != nil {
			return a, fmt.Errorf("reading the driver: %w", err)
		}
		if driver.Spec.NodeName != "" {
			return a, inputError{fmt.Errorf("pod %s/%s has started on node %s: what it holds would stand in its own way (kubectl retinue app)", driver.Namespace, driver.Name, driver.Spec.NodeName)}
		}
		a.application, err = applicationOf(ctx, r.client, driver)
		return a, err
	case files:
		a.application, err = o.files.fromFiles()
		if err == nil && o.files.properties != "" {
			var text string
			if text, err = readFile("--properties", o.files.properties); err == nil {
				var s submission
				s.text = text
				if err = s.finish("", ""); err == nil {
					a.namespace, a.warnings = s.namespace, s.warnings
				}
			}
		}
		return a, err
	case submit != nil:
		return o.submitted(submit)
	}
	return a, inputError{errors.New("name a driver pod, give a file with --properties, or the arguments of spark-submit after --")}
}

// submitted is what spark-submit would make of its arguments.
func (o checkOptions) submitted(args []string) (a asked, err error) {
	s, err := parseSubmit(args, os.Getenv)
	if err != nil {
		return a, asInput(err)
	}
	a.namespace, a.warnings = s.namespace, s.warnings
	if a.properties, err = spark.ParseProperties(s.text); err != nil {
		return a, inputError{err}
	}
	version, err := o.files.sparkVersion()
	if err != nil {
		return a, err
	}
	if a.driver, err = spark.Driver(a.properties, version); err != nil {
		return a, nil // which define says as well
	}
	driver, executor := a.properties.TemplateFiles()
	template := o.files.template
	if template == "" && executor != "" {
		template = strings.TrimPrefix(executor, "file://")
	}
	if template != "" {
		text, err := readFile("--executor-template", template)
		if err != nil {
			a.warnings = append(a.warnings, fmt.Sprintf("the pod template %q of the executors cannot be read here: what it says is missing", template))
		} else if a.template, err = spark.ParseTemplate(text); err != nil {
			return a, inputError{fmt.Errorf("pod template %s: %w", template, err)}
		}
	}
	if driver != "" {
		a.warnings = append(a.warnings, fmt.Sprintf("what the pod template %q says of the driver is missing here", driver))
	}
	return a, nil
}

func asInput(err error) error {
	if input := (inputError{}); errors.As(err, &input) {
		return err
	}
	return inputError{err}
}

// assess answers.
func (o checkOptions) assess(ctx context.Context, r *reader, a asked) (checkDocument, error) {
	document := checkDocument{Namespace: r.namespace, Driver: amounts{}, Workers: []worker{}, Warnings: append([]string{}, a.warnings...)}
	if a.driver == nil {
		_, err := spark.Driver(a.properties, spark.Latest)
		return invalid(document, err), nil
	}
	definition, err := a.define()
	if err != nil {
		return invalid(document, err), nil
	}
	report := newReport(a.driver, definition)
	document.Driver, document.Workers, document.Warnings = report.Driver, report.Workers, append(document.Warnings, report.Warnings...)
	if name := a.driver.Spec.SchedulerName; name != o.scheduler {
		document.Warnings = append(document.Warnings, fmt.Sprintf("it asks for the scheduler %q, and not for %q: set spark.kubernetes.scheduler.name", name, o.scheduler))
	}
	objects := view.Objects{Now: now()}
	if objects.Queues, err = r.queues(ctx); err != nil {
		return document, err
	}
	if objects.Namespaces, err = r.namespaces(ctx, r.namespace); err != nil {
		return document, err
	}
	everywhere, err := r.room(ctx, &objects, r.namespace)
	if err != nil {
		return document, err
	}
	question := view.Question{Namespace: r.namespace, User: spark.User(a.driver), Leader: a.driver, Definition: definition}
	question.Limits, _ = r.limits(ctx, r.namespace)
	cluster := view.NewCluster(objects, everywhere)
	document.Assessment, document.Queue = cluster.Assess(question), cluster.QueueOf(r.namespace)
	if document.Result != view.Fits {
		if most := cluster.Largest(question); most > 0 {
			document.WouldFit = &most
		}
	}
	for _, queue := range objects.Queues {
		if queue.Name == document.Queue && queue.Status.Waiting > 0 {
			document.Warnings = append(document.Warnings, fmt.Sprintf("in queue %s others wait already, %d in all: whoever goes first may take the room", queue.Name, queue.Status.Waiting))
		}
	}
	document.Unseen = append(document.Unseen, r.unseen...)
	return document, nil
}

// invalid is the answer about what no scheduler would understand.
func invalid(document checkDocument, err error) checkDocument {
	document.Assessment = view.Assessment{Result: view.Never, Findings: []view.Finding{{Reason: gang.InvalidGang, Message: err.Error()}}, Unseen: []string{}}
	return document
}

var verdicts = map[view.Result]string{view.Fits: "fits now", view.WouldWait: "would wait", view.Never: "can never run"}

func (d checkDocument) write(out io.Writer, _ view.Style) error {
	var b strings.Builder
	b.WriteString(verdicts[d.Result])
	if d.Result == view.Fits && len(d.Unseen) > 0 {
		b.WriteString(", as far as could be seen")
	}
	b.WriteByte('\n')
	for _, finding := range d.Findings {
		fmt.Fprintf(&b, "  %s: %s\n", finding.Reason, view.Clean(finding.Message))
	}
	if d.WouldFit != nil {
		fmt.Fprintf(&b, "  with %d instead of %d of its executors nothing that could be seen would stand in its way\n", *d.WouldFit, d.Workers[0].Count)
	}
	if len(d.Driver) > 0 {
		fmt.Fprintf(&b, "driver: %s\n", d.Driver.text())
	}
	for _, w := range d.Workers {
		fmt.Fprintf(&b, "%d × %s: %s each\n", w.Count, w.Role, w.Requests.text())
	}
	where := "namespace: " + d.Namespace
	if d.Queue != "" {
		where += ", in queue " + d.Queue
	}
	b.WriteString(where + "\n")
	for _, warning := range d.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", view.Clean(warning))
	}
	for _, sentence := range d.Unseen {
		fmt.Fprintf(&b, "not seen: %s\n", sentence)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// text is amounts in one line.
func (a amounts) text() string {
	parts := []string{}
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
		if amount := a[name]; amount != "" {
			parts = append(parts, string(name)+" "+amount)
		}
	}
	if other := others(a); other != "" {
		parts = append(parts, strings.ReplaceAll(other, "=", " "))
	}
	return strings.Join(parts, ", ")
}
