package plugin

import (
	"context"
	"errors"
	"fmt"
	"sync"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/limits"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/rehearsal"
	"retinue.dev/retinue/pkg/spark"
)

// invalid is an error that trying again cannot mend.
type invalid struct{ error }

func (i invalid) Unwrap() error { return i.error }

// errAbsent means that a ConfigMap has not been created yet.
var errAbsent = errors.New("not there yet")

func isInvalid(err error) bool {
	var i invalid
	return errors.As(err, &i)
}

// reader reads what a leader's gang will ask for.
type reader struct {
	client kubernetes.Interface
	// texts is held by whoever decodes what a user wrote: one text's need of memory has a bound, and that of all workers together
	// is the same.
	texts sync.Mutex
	// counted is which resources the ledger counts.
	counted counted
	// limits are the LimitRanges and ResourceQuotas of a namespace.
	limits func(namespace string) limits.Namespace
	// dryRun asks what admission makes of executors.
	dryRun dryRun
}

// decode decodes one text while nobody else does.
func (r *reader) decode(decode func()) {
	r.texts.Lock()
	defer r.texts.Unlock()
	decode()
}

// reads tells whether what a leader's gang is has to be fetched.
func reads(leader *v1.Pod) bool {
	return !spark.ListsRoles(leader) && spark.ConfigMaps(leader).Properties != ""
}

// define reads what a leader's gang will ask for. The error is invalid when the leader's user has to change something.
func (r *reader) define(ctx context.Context, leader *v1.Pod) (gang.Definition, error) {
	var definition gang.Definition
	var found bool
	var err error
	r.decode(func() { definition, found, err = spark.FromAnnotations(leader) })
	if err != nil {
		return gang.Definition{}, invalid{err}
	}
	if !found {
		if definition, err = r.infer(ctx, leader); err != nil {
			return gang.Definition{}, err
		}
	}
	if problem := r.limits(leader.Namespace).Apply(leader, &definition); problem != "" && leader.Spec.NodeName == "" { // one that runs may have been let in by others
		return gang.Definition{}, invalid{errors.New(problem)}
	}
	if leader.Spec.NodeName == "" {
		if problem := longRules(leader, "it"); problem != "" {
			return gang.Definition{}, invalid{errors.New(problem)}
		}
		for _, role := range definition.Roles {
			if problem := longRules(role.Pod, role.Name); problem != "" {
				return gang.Definition{}, invalid{errors.New(problem)}
			}
		}
		if err := r.classes(ctx, leader, definition.Roles); err != nil {
			return gang.Definition{}, err
		}
	}
	_, rank := spark.Rank(leader)
	_, hold := spark.Held(leader)
	for _, err := range []error{rank, hold} {
		if err != nil {
			definition.Warnings = append(definition.Warnings, err.Error())
		}
	}
	for i := range definition.Roles {
		definition.Roles[i].Signature = signatureOf(definition.Roles[i].Pod)
		definition.Roles[i].Requests = r.counted.of(definition.Roles[i].Requests)
	}
	if rehearsal.Needed(leader, definition.Roles) {
		definition.Rehearsed = true
		definition.Roles[0].Signature += " " + gangSignature(leader, definition.Roles)
	}
	return definition, nil
}

// longRules says that a pod of a gang says more about nodes and other pods than it may; empty means that it does not. Whose name is before it.
func longRules(pod *v1.Pod, name string) string {
	if rules := placement.Rules(pod); rules > placement.MostRules {
		return fmt.Sprintf("%s has too many rules: spec.nodeSelector, spec.tolerations, spec.affinity and spec.topologySpreadConstraints count as %d, more than %d", name, rules, placement.MostRules)
	}
	return ""
}

// infer reads the ConfigMaps that spark-submit made for a driver.
func (r *reader) infer(ctx context.Context, driver *v1.Pod) (gang.Definition, error) {
	refs := spark.ConfigMaps(driver)
	if refs.Properties == "" {
		return gang.Definition{Source: "pod", Warnings: []string{"the driver mounts no Spark configuration, so no room is kept for its executors"}}, nil
	}
	configMap, err := r.configMap(ctx, driver.Namespace, refs.Properties)
	if err != nil {
		return gang.Definition{}, err
	}
	var properties spark.Properties
	r.decode(func() { properties, err = spark.PropertiesOf(configMap, driver) })
	if err != nil {
		return gang.Definition{}, unlessForeign(err)
	}
	var template *v1.Pod
	if refs.Template != "" {
		if configMap, err = r.configMap(ctx, driver.Namespace, refs.Template); err != nil {
			return gang.Definition{}, err
		}
		r.decode(func() { template, err = spark.TemplateOf(configMap, driver) })
		if err != nil {
			return gang.Definition{}, unlessForeign(err)
		}
	}
	definition, err := spark.Infer(driver, properties, template)
	if err != nil {
		return gang.Definition{}, invalid{err}
	}
	r.dryRun.admit(ctx, driver, &definition)
	return definition, nil
}

// unlessForeign calls an error invalid unless it says that the ConfigMap belongs to another driver: the right one will
// take its place.
func unlessForeign(err error) error {
	if errors.Is(err, spark.ErrOwner) {
		return err
	}
	return invalid{err}
}

func (r *reader) configMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error) {
	configMap, err := r.client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("ConfigMap %s/%s is %w", namespace, name, errAbsent)
	}
	return configMap, err
}
