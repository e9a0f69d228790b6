package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/limits"
	"retinue.dev/retinue/pkg/spark"
)

// gangOptions are the arguments of the gang command.
type gangOptions struct {
	cluster    *genericclioptions.ConfigFlags
	streams    genericiooptions.IOStreams
	properties string // file
	driver     string // file
	template   string // file
	version    string // of Spark; "" means that of the driver pod, or the newest known
	output     string // one of outputs
}

func newGangCommand(streams genericiooptions.IOStreams) *cobra.Command {
	options := gangOptions{cluster: genericclioptions.NewConfigFlags(true), streams: streams}
	command := &cobra.Command{
		Use:   "gang (DRIVER-POD | podgroup/NAME | --properties FILE)",
		Short: "Show the gang that the scheduler infers from a Spark application.",
		Long: "Show the driver and the executors that the scheduler will keep room for: from a driver pod in the cluster and the\n" +
			"ConfigMaps it mounts, or from files, without a cluster.",
		Example: "  kubectl retinue gang etl-1f3a-driver -n team-a\n" +
			"  kubectl retinue gang --properties spark-defaults.conf --spark-version 3.5.9 -o json",
		Args: func(_ *cobra.Command, args []string) error { return options.check(args) },
		RunE: func(command *cobra.Command, args []string) error { return options.run(command.Context(), args) },
	}
	options.cluster.AddFlags(command.Flags())
	flags := command.Flags()
	flags.StringVar(&options.properties, "properties", "", "file with Spark properties, such as spark-defaults.conf or the spark.properties of a driver")
	flags.StringVar(&options.driver, "driver-pod", "", "file with the driver pod; computed from the properties if there is none")
	flags.StringVar(&options.template, "executor-template", "", "file with the pod template of the executors")
	flags.StringVar(&options.version, "spark-version", "", "version of Spark; the default is that of the driver pod, or "+spark.Latest.String())
	flags.StringVarP(&options.output, "output", "o", outputTable, "table, json or yaml")
	return command
}

func (o gangOptions) check(args []string) error {
	files := o.properties != "" || o.driver != "" || o.template != ""
	switch {
	case len(args) > 1:
		return inputError{fmt.Errorf("one driver pod at a time, not %d", len(args))}
	case len(args) == 1 && files:
		return inputError{errors.New("either a driver pod or files, not both")}
	case len(args) == 0 && o.properties == "" && o.driver == "":
		return inputError{errors.New("name a driver pod, or give a file with --properties")}
	case !slices.Contains(outputs, o.output):
		return inputError{fmt.Errorf("--output=%q: want table, json or yaml", o.output)}
	case len(args) == 1 && len(validation.IsDNS1123Subdomain(objectName(args[0]))) > 0:
		return inputError{fmt.Errorf("driver pod %q: not the name of a pod", args[0])}
	}
	_, err := o.sparkVersion()
	return err
}

// objectName is the name in an argument that may name its kind as well.
func objectName(argument string) string {
	if name, _, isGroup := groupName(argument); isGroup {
		return name
	}
	return podName(argument)
}

// podName takes the form pod/NAME, too, in which kubectl itself prints names.
func podName(argument string) string {
	for _, kind := range []string{"pod/", "pods/", "po/"} {
		if name, found := strings.CutPrefix(argument, kind); found {
			return name
		}
	}
	return argument
}

func (o gangOptions) run(ctx context.Context, args []string) error {
	var app application
	var err error
	if len(args) == 1 {
		r, err := connect(o.cluster)
		if err != nil {
			return err
		}
		if name, group, isGroup := groupName(args[0]); isGroup {
			return o.group(ctx, r, name, group)
		}
		if app, err = o.fromCluster(ctx, r, podName(args[0])); err != nil {
			return err
		}
		if name, group := groupOf(app.driver); name != "" && !spark.Leads(app.driver) {
			return o.group(ctx, r, name, group)
		}
	} else if app, err = o.fromFiles(); err != nil {
		return err
	}
	definition, err := app.define()
	if err != nil {
		return inputError{err}
	}
	if problem := app.limits.Apply(app.driver, &definition); problem != "" {
		return inputError{errors.New(problem)}
	}
	r := newReport(app.driver, definition)
	o.annotate(&r, app, definition)
	if app.unread != "" {
		r.Warnings = append(r.Warnings, "what LimitRanges and ResourceQuotas will refuse is not known: "+app.unread)
	}
	if app.driver.Spec.NodeName == "" {
		if short := app.limits.Short(app.limits.NeedOf(definition.Roles), nil); short != nil {
			r.Warnings = append(r.Warnings, string(gang.QuotaUsedUp)+": "+short.String())
		}
	}
	return o.print(r)
}

// annotate adds what the answer rests on: version, language and files, said or assumed.
func (o gangOptions) annotate(r *report, app application, definition gang.Definition) {
	if definition.Source != spark.Source {
		return
	}
	if r.SparkVersion = app.driver.Labels[spark.LabelVersion]; r.SparkVersion == "" {
		r.SparkVersion = spark.Version{}.String()
	}
	if o.properties != "" {
		r.Source = o.properties
	}
	r.Assumed = definition.Assumed
	language, said := app.properties.Language()
	r.Language = language
	if !said {
		r.Warnings = append(r.Warnings, app.otherLanguages(language, definition)...)
	}
	if o.properties == "" {
		return
	}
	driver, executor := app.properties.TemplateFiles()
	if executor != "" && o.template == "" {
		r.Warnings = append(r.Warnings, fmt.Sprintf("the properties name the pod template %q of the executors, which was not given: what it says is missing here; give it with --executor-template", executor))
	}
	if driver != "" && o.driver == "" {
		r.Warnings = append(r.Warnings, fmt.Sprintf("the properties name the pod template %q of the driver, which was not given: what it says is missing here; give the driver pod with --driver-pod", driver))
	}
}

// otherLanguages says what executors would ask for if the language that is assumed is another.
func (a application) otherLanguages(assumed string, definition gang.Definition) []string {
	if len(definition.Roles) == 0 {
		return nil
	}
	others := map[string][]string{} // what is asked for -> languages
	var order []string
	for _, language := range spark.Languages {
		other, err := spark.Infer(a.driver, a.properties.In(language), a.template)
		if err != nil || len(other.Roles) == 0 || other.Roles[0].Requests.Equal(definition.Roles[0].Requests) {
			continue
		}
		asks := other.Roles[0].Requests.String()
		if others[asks] == nil {
			order = append(order, asks)
		}
		others[asks] = append(others[asks], language)
	}
	if len(order) == 0 {
		return nil
	}
	var texts []string
	for _, asks := range order {
		texts = append(texts, fmt.Sprintf("in %s an executor asks for %s", strings.Join(others[asks], " and "), asks))
	}
	return []string{fmt.Sprintf("the properties do not say the language, so %s is assumed: %s; spark-submit writes spark.kubernetes.resource.type", assumed, strings.Join(texts, ", "))}
}

// application is what a gang is inferred from.
type application struct {
	driver     *v1.Pod
	properties spark.Properties // nil means that there are none
	template   *v1.Pod          // nil means that there is none
	// limits are those of the namespace, and unread why they are not known; both are empty without a cluster.
	limits limits.Namespace
	unread string
}

// define asks what the scheduler asks, in its order: what users say wins over what is inferred.
func (a application) define() (gang.Definition, error) {
	definition, found, err := spark.FromAnnotations(a.driver)
	switch {
	case err != nil:
		return gang.Definition{}, err
	case found:
		return definition, nil
	case a.properties == nil:
		return gang.Definition{}, fmt.Errorf("pod %s has no Spark properties to infer from and no annotation %s", a.driver.Name, spark.AnnotationRoles)
	default:
		return spark.Infer(a.driver, a.properties, a.template)
	}
}

// sparkVersion is the value of --spark-version.
func (o gangOptions) sparkVersion() (spark.Version, error) {
	if o.version == "" {
		return spark.Latest, nil
	}
	version, err := spark.ParseVersion(o.version)
	if err != nil {
		return spark.Version{}, inputError{fmt.Errorf("--spark-version: %w", err)}
	}
	return version, nil
}
