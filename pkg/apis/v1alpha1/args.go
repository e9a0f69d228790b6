package v1alpha1

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"
)

// GroupVersion and kind that arguments may carry; both may be left out.
const (
	GroupVersion = "retinue.dev/v1alpha1"
	ArgsKind     = "RetinueArgs"
)

// Placement is how a gang is laid out on nodes.
type Placement string

const (
	// Pack uses the fewest nodes.
	Pack Placement = "Pack"
	// Spread puts equal numbers of workers on nodes.
	Spread Placement = "Spread"
	// SingleZone keeps the whole gang in one topology domain, or lets it wait.
	SingleZone Placement = "SingleZone"
	// PreferSingleZone keeps the gang in one topology domain where one has room, else it is laid out by Pack.
	PreferSingleZone Placement = "PreferSingleZone"
)

// PredictAdmission is how it is found out what admission does to executors that do not exist yet.
type PredictAdmission string

const (
	// LikeDriver assumes of executors what admission did to their driver.
	LikeDriver PredictAdmission = "LikeDriver"
	// DryRun asks the API server, by a server-side dry run of an executor.
	DryRun PredictAdmission = "DryRun"
)

// RetinueArgs are the arguments of the plugin Retinue in a KubeSchedulerConfiguration.
// +kubebuilder:object:generate=false
type RetinueArgs struct {
	metav1.TypeMeta `json:",inline"`

	// Placement of gangs. Default Pack.
	Placement Placement `json:"placement,omitempty"`
	// TopologyKey is the node label whose values are the domains of the zonal placements.
	// Default topology.kubernetes.io/zone.
	TopologyKey string `json:"topologyKey,omitempty"`
	// DefinitionTimeout is how long a driver's ConfigMap may stay away before its user is told that the driver is
	// broken; the driver goes on waiting. Default 60s.
	DefinitionTimeout *metav1.Duration `json:"definitionTimeout,omitempty"`
	// UnclaimedSlotTimeout is how long slots wait for executors, counted from when the driver is ready and anew with
	// every executor that comes or goes. Default 5m.
	UnclaimedSlotTimeout *metav1.Duration `json:"unclaimedSlotTimeout,omitempty"`
	// LeaderReadyTimeout is how long slots wait for executors of a driver that is bound and not ready, because its image cannot
	// be pulled, say; when it is ready its gang has them back as soon as there is room. Default 15m.
	LeaderReadyTimeout *metav1.Duration `json:"leaderReadyTimeout,omitempty"`
	// Tell is how much pods and their events say of other namespaces: "own", the default, names nobody else's pods, users and queues;
	// "names" does, for clusters whose users may read each other's objects.
	Tell string `json:"tell,omitempty"`
	// CollectAfter is how long a pod or gang waits, since its creation, while others pass it, before room that comes back
	// is kept for it. Default 5m.
	CollectAfter *metav1.Duration `json:"collectAfter,omitempty"`
	// PredictAdmission is how it is found out what admission does to executors. DryRun needs the right to create pods, which
	// manifests/dry-run grants for dry runs only. Default LikeDriver.
	PredictAdmission PredictAdmission `json:"predictAdmission,omitempty"`
	// DefaultLimit is the limit of every namespace that belongs to no queue, each by itself. With it there are queues: see
	// docs/queues.md. Absent by default: no limit.
	DefaultLimit v1.ResourceList `json:"defaultLimit,omitempty"`
	// ScaleUp is how an autoscaler is asked for the nodes that a gang lacks: see docs/autoscaling.md.
	ScaleUp ScaleUp `json:"scaleUp,omitempty"`
}

// DecodeArgs reads arguments strictly, sets defaults and validates. raw is JSON or YAML; empty means all defaults.
// The error names every wrong field with its value.
func DecodeArgs(raw []byte) (*RetinueArgs, error) {
	if err := unknownFields(raw); err != nil {
		return nil, fmt.Errorf("%s: %w", ArgsKind, err)
	}
	args := &RetinueArgs{}
	if err := yaml.UnmarshalStrict(raw, args); err != nil {
		return nil, fmt.Errorf("%s: %w", ArgsKind, err)
	}
	args.setDefaults()
	if errs := args.Validate(); len(errs) > 0 {
		return nil, fmt.Errorf("%s: %w", ArgsKind, errs.ToAggregate())
	}
	return args, nil
}

// unknownFields names every field that arguments do not have, with its value; the strict decoder names only the first,
// and no value.
func unknownFields(raw []byte) error {
	var fields map[string]any
	if err := yaml.Unmarshal(raw, &fields); err != nil {
		return err
	}
	known := []string{"apiVersion", "kind"}
	for i := range reflect.TypeFor[RetinueArgs]().NumField() {
		name, _, _ := strings.Cut(reflect.TypeFor[RetinueArgs]().Field(i).Tag.Get("json"), ",")
		known = append(known, name)
	}
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(known, name) {
			errs = append(errs, field.Invalid(field.NewPath(name), fields[name], "there is no such field"))
		}
	}
	return errs.ToAggregate()
}

func (a *RetinueArgs) setDefaults() {
	if a.Placement == "" {
		a.Placement = Pack
	}
	if a.PredictAdmission == "" {
		a.PredictAdmission = LikeDriver
	}
	if a.TopologyKey == "" {
		a.TopologyKey = "topology.kubernetes.io/zone"
	}
	if a.DefinitionTimeout == nil {
		a.DefinitionTimeout = &metav1.Duration{Duration: time.Minute}
	}
	if a.UnclaimedSlotTimeout == nil {
		a.UnclaimedSlotTimeout = &metav1.Duration{Duration: 5 * time.Minute}
	}
	if a.LeaderReadyTimeout == nil {
		a.LeaderReadyTimeout = &metav1.Duration{Duration: 15 * time.Minute}
	}
	if a.Tell == "" {
		a.Tell = TellOwn
	}
	if a.CollectAfter == nil {
		a.CollectAfter = &metav1.Duration{Duration: 5 * time.Minute}
	}
	a.ScaleUp.setDefaults()
}

// How much is told of others.
const (
	TellOwn   = "own"
	TellNames = "names"
)

// Validate returns what is wrong with arguments whose defaults are set.
func (a *RetinueArgs) Validate() field.ErrorList {
	var errs field.ErrorList
	if a.APIVersion != "" && a.APIVersion != GroupVersion {
		errs = append(errs, field.NotSupported(field.NewPath("apiVersion"), a.APIVersion, []string{GroupVersion}))
	}
	if a.Kind != "" && a.Kind != ArgsKind {
		errs = append(errs, field.NotSupported(field.NewPath("kind"), a.Kind, []string{ArgsKind}))
	}
	switch a.Placement {
	case Pack, Spread, SingleZone, PreferSingleZone:
	default:
		errs = append(errs, field.NotSupported(field.NewPath("placement"), a.Placement, []Placement{Pack, PreferSingleZone, SingleZone, Spread}))
	}
	if a.PredictAdmission != LikeDriver && a.PredictAdmission != DryRun {
		errs = append(errs, field.NotSupported(field.NewPath("predictAdmission"), a.PredictAdmission, []PredictAdmission{DryRun, LikeDriver}))
	}
	for _, name := range slices.Sorted(maps.Keys(a.DefaultLimit)) {
		if limit := a.DefaultLimit[name]; limit.Sign() < 0 {
			errs = append(errs, field.Invalid(field.NewPath("defaultLimit").Key(string(name)), limit.String(), "must not be negative"))
		}
	}
	if a.Tell != TellOwn && a.Tell != TellNames {
		errs = append(errs, field.NotSupported(field.NewPath("tell"), a.Tell, []string{TellOwn, TellNames}))
	}
	for _, problem := range validation.IsQualifiedName(a.TopologyKey) {
		errs = append(errs, field.Invalid(field.NewPath("topologyKey"), a.TopologyKey, problem))
	}
	errs = append(errs, positive("definitionTimeout", a.DefinitionTimeout)...)
	errs = append(errs, positive("unclaimedSlotTimeout", a.UnclaimedSlotTimeout)...)
	errs = append(errs, positive("leaderReadyTimeout", a.LeaderReadyTimeout)...)
	errs = append(errs, positive("collectAfter", a.CollectAfter)...)
	errs = append(errs, a.ScaleUp.validate(field.NewPath("scaleUp"))...)
	return errs
}

func positive(name string, value *metav1.Duration) field.ErrorList {
	if value.Duration > 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath(name), value.Duration.String(), "must be greater than zero")}
}
