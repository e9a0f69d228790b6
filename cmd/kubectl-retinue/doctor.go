package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"retinue.dev/retinue/pkg/scaleup"
	"retinue.dev/retinue/pkg/view"
)

// doctorOptions say where the scheduler is.
type doctorOptions struct {
	shown
	namespace, lease, deployment, account, scheduler string
}

// doctorDocument is what was looked at. Scripts read it: fields are added, never renamed.
type doctorDocument struct {
	Examinations []view.Examination `json:"examinations"`
}

func newDoctorCommand(streams genericiooptions.IOStreams) *cobra.Command {
	o := doctorOptions{shown: newShown(streams)}
	command := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is commonly wrong: in queues, quotas, rights, names, and with the scheduler.",
		Long: "Look for what is commonly wrong. Nothing is changed. What your rights do not show is unknown, and said so; most of it is for whoever\n" +
			"administers the cluster. The exit code is 1 if there is a problem.",
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			r, err := connect(o.cluster)
			if err != nil {
				return err
			}
			return o.run(command.Context(), r)
		},
	}
	o.add(command, pageOutputs)
	flags := command.Flags()
	flags.StringVar(&o.namespace, "scheduler-namespace", schedulerNamespace, "namespace of the scheduler")
	flags.StringVar(&o.lease, "lease", "retinue", "name of the Lease that the scheduler holds")
	flags.StringVar(&o.deployment, "deployment", schedulerDeployment, "name of the scheduler's Deployment")
	flags.StringVar(&o.account, "service-account", "retinue", "service account of the scheduler")
	flags.StringVar(&o.scheduler, "scheduler-name", "retinue", "name of the scheduler that applications ask for; several with commas between them")
	return command
}

func (o doctorOptions) run(ctx context.Context, r *reader) error {
	var document doctorDocument
	add := func(examinations ...view.Examination) {
		document.Examinations = append(document.Examinations, examinations...)
	}
	lease, unread := r.client.CoordinationV1().Leases(o.namespace).Get(ctx, o.lease, metav1.GetOptions{})
	running, err := o.examineLease(lease, unread)
	if err != nil {
		return err
	}
	gates, err := o.examineGates(ctx, r)
	if err != nil {
		return err
	}
	rights, err := o.examineRights(ctx, r)
	if err != nil {
		return err
	}
	scalesUp, err := o.examineScaleUp(lease, unread)
	if err != nil {
		return err
	}
	add(running, gates, rights, scalesUp)
	objects := view.Objects{Now: now()}
	if objects.Queues, err = r.queues(ctx); err != nil {
		return err
	}
	if objects.Namespaces, err = r.namespaces(ctx, r.namespace); err != nil {
		return err
	}
	everywhere, err := r.room(ctx, &objects, r.namespace)
	if err != nil {
		return err
	}
	if objects.Definitions, err = r.definitions(ctx, objects.Pods); err != nil {
		return err
	}
	cluster := view.NewCluster(objects, everywhere)
	add(cluster.ExamineQueues(r.everyNamespace)...)
	quotas, err := o.examineQuotas(ctx, r, cluster)
	if err != nil {
		return err
	}
	names, sizes := view.ExamineNames(objects, strings.Split(o.scheduler, ",")...), cluster.ExamineSizes()
	if !everywhere && names.Outcome == view.Well {
		names.Findings = append(names.Findings, "of namespace "+r.namespace+" alone")
	}
	add(quotas, names, sizes)
	if err := o.page(document, nil, document.write); err != nil {
		return err
	}
	for _, e := range document.Examinations {
		if e.Outcome == view.Problem {
			return answered{exitFailed}
		}
	}
	return nil
}

// examineLease looks whether a scheduler renews its Lease; err is why that could not be read.
func (o doctorOptions) examineLease(lease *coordinationv1.Lease, err error) (view.Examination, error) {
	const name, cure = "the scheduler runs", "kubectl get pods -n retinue-system; kubectl logs -n retinue-system deployment/retinue"
	switch {
	case apierrors.IsForbidden(err):
		return view.Unexamined(name, fmt.Sprintf("you may not read Lease %s/%s", o.namespace, o.lease)), nil
	case apierrors.IsNotFound(err):
		return view.Examined(name, cure, []string{fmt.Sprintf("there is no Lease %s/%s: none has ever run, or it runs without leader election or elsewhere", o.namespace, o.lease)}), nil
	case err != nil:
		return view.Examination{}, fmt.Errorf("reading the Lease of the scheduler: %w", err)
	}
	spec := lease.Spec
	if spec.HolderIdentity == nil || *spec.HolderIdentity == "" || spec.RenewTime == nil || spec.LeaseDurationSeconds == nil {
		return view.Examined(name, cure, []string{fmt.Sprintf("nobody holds Lease %s/%s", o.namespace, o.lease)}), nil
	}
	if silent := now().Sub(spec.RenewTime.Time); silent > time.Duration(*spec.LeaseDurationSeconds)*time.Second {
		return view.Examined(name, cure, []string{fmt.Sprintf("%s has not renewed its Lease for %s", view.Clean(*spec.HolderIdentity), view.Age(silent))}), nil
	}
	return view.Examined(name, cure, nil), nil
}

// examineScaleUp tells in which mode the scheduler asks an autoscaler for nodes, and why: it writes that on its Lease.
func (o doctorOptions) examineScaleUp(lease *coordinationv1.Lease, err error) (view.Examination, error) {
	const name = "how an autoscaler is asked for nodes"
	switch {
	case apierrors.IsForbidden(err):
		return view.Unexamined(name, fmt.Sprintf("you may not read Lease %s/%s", o.namespace, o.lease)), nil
	case apierrors.IsNotFound(err):
		return view.Unexamined(name, fmt.Sprintf("there is no Lease %s/%s on which the scheduler would write it; its log says it", o.namespace, o.lease)), nil
	case err != nil:
		return view.Examination{}, fmt.Errorf("reading the Lease of the scheduler: %w", err)
	}
	choice := lease.Annotations[scaleup.ChoiceAnnotation]
	_, why, said := strings.Cut(choice, ": ")
	switch {
	case !said:
		return view.Unexamined(name, "the scheduler has not written it on its Lease yet"), nil
	case strings.HasPrefix(why, scaleup.Unseen):
		return view.Examined(name, "kubectl apply -k manifests/setup, or set scaleUp.mode", []string{choice}), nil
	default:
		well := view.Examined(name, "", nil)
		well.Findings = append(well.Findings, choice)
		return well, nil
	}
}

// preQueueing is the feature gate without which everybody who waits is looked at whenever a pod comes or goes.
const preQueueing = "SchedulerPreQueueingHints"

// examineGates looks whether the scheduler has the feature gate that it is made for.
func (o doctorOptions) examineGates(ctx context.Context, r *reader) (view.Examination, error) {
	const name = "waiting costs nothing"
	deployment, err := r.client.AppsV1().Deployments(o.namespace).Get(ctx, o.deployment, metav1.GetOptions{})
	switch {
	case apierrors.IsForbidden(err):
		return view.Unexamined(name, fmt.Sprintf("you may not read Deployment %s/%s", o.namespace, o.deployment)), nil
	case apierrors.IsNotFound(err):
		return view.Unexamined(name, fmt.Sprintf("there is no Deployment %s/%s", o.namespace, o.deployment)), nil
	case err != nil:
		return view.Examination{}, fmt.Errorf("reading the Deployment of the scheduler: %w", err)
	}
	for _, container := range deployment.Spec.Template.Spec.Containers {
		for _, argument := range append(container.Command, container.Args...) {
			if strings.HasPrefix(argument, "--feature-gates=") && strings.Contains(argument, preQueueing+"=true") {
				return view.Examined(name, "", nil), nil
			}
		}
	}
	return view.Examined(name, "add --feature-gates="+preQueueing+"=true to its arguments", []string{
		"the feature gate " + preQueueing + " is off: everybody who waits is looked at whenever a pod comes or goes"}), nil
}

// rights are what the scheduler cannot work without, of what kube-scheduler has not anyway.
var rights = []authorizationv1.ResourceAttributes{
	{Verb: "get", Resource: "configmaps"}, {Verb: "patch", Resource: "pods"}, {Verb: "list", Resource: "pods"}, {Verb: "list", Resource: "nodes"},
	{Verb: "create", Resource: "pods", Subresource: "binding"}, {Verb: "create", Resource: "pods", Subresource: "eviction"}, {Verb: "patch", Resource: "pods", Subresource: "status"},
	{Verb: "list", Resource: "resourcequotas"}, {Verb: "list", Resource: "limitranges"}, {Verb: "get", Resource: "priorityclasses", Group: "scheduling.k8s.io"},
	{Verb: "list", Resource: "queues", Group: "retinue.dev"}, {Verb: "patch", Resource: "queues", Subresource: "status", Group: "retinue.dev"},
}

// examineRights asks the API server what the scheduler's account may do.
func (o doctorOptions) examineRights(ctx context.Context, r *reader) (view.Examination, error) {
	const name = "the scheduler has its rights"
	user := "system:serviceaccount:" + o.namespace + ":" + o.account
	var missing []string
	for _, right := range rights {
		review, err := r.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + o.namespace, "system:authenticated"}, ResourceAttributes: &right,
		}}, metav1.CreateOptions{})
		if apierrors.IsForbidden(err) || apierrors.IsMethodNotSupported(err) {
			return view.Unexamined(name, "you may not ask what others may do (create subjectaccessreviews)"), nil
		}
		if err != nil {
			return view.Examination{}, fmt.Errorf("asking for the rights of the scheduler: %w", err)
		}
		if !review.Status.Allowed {
			what := right.Resource
			if right.Subresource != "" {
				what += "/" + right.Subresource
			}
			missing = append(missing, fmt.Sprintf("%s may not %s %s", user, right.Verb, what))
		}
	}
	return view.Examined(name, "kubectl apply -k manifests/setup", missing), nil
}

// examineQuotas reads the quotas of all namespaces, or of one.
func (o doctorOptions) examineQuotas(ctx context.Context, r *reader, cluster *view.Cluster) (view.Examination, error) {
	const name = "quotas let queues be used"
	listed, err := r.client.CoreV1().ResourceQuotas(metav1.NamespaceAll).List(ctx, cached)
	if apierrors.IsForbidden(err) {
		listed, err = r.client.CoreV1().ResourceQuotas(r.namespace).List(ctx, cached)
	}
	if apierrors.IsForbidden(err) {
		return view.Unexamined(name, "you may not read ResourceQuotas"), nil
	}
	if err != nil {
		return view.Examination{}, fmt.Errorf("reading ResourceQuotas: %w", err)
	}
	quotas := make([]*v1.ResourceQuota, len(listed.Items))
	for i := range listed.Items {
		quotas[i] = &listed.Items[i]
	}
	return cluster.ExamineQuotas(quotas), nil
}

func (d doctorDocument) write(out io.Writer, style view.Style) error {
	for _, e := range d.Examinations {
		if err := e.Write(out, style); err != nil {
			return err
		}
	}
	return nil
}
