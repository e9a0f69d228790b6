package quota

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/resource"
)

const (
	// maxWeight keeps products of weights within 192 bits.
	maxWeight = 1 << 30
	// maxCount of gangs and percents is far beyond what is real.
	maxCount = 1 << 40
)

// inspector reads specs and collects what is wrong with them. Its one rule: a wrong value counts as not written.
type inspector struct {
	problems []Problem
}

func (i *inspector) report(queue, field, value, message string, args ...any) {
	i.problems = append(i.problems, Problem{queue, field, clipped(value), clipped(fmt.Sprintf(message, args...))})
}

// longestText is how many bytes a value or message of a Problem has at most: a selector may be as long as an object.
const longestText = 512

func clipped(text string) string {
	if len(text) <= longestText {
		return text
	}
	return strings.ToValidUTF8(text[:longestText], "") + " …"
}

// unique are the specs by name, without those that have none; of two with the same name the first counts.
func (i *inspector) unique(specs []Spec) map[string]Spec {
	byName := map[string]Spec{}
	for _, spec := range specs {
		_, twice := byName[spec.Name]
		switch {
		case spec.Name == "":
			i.report("", "name", `""`, "a queue needs a name; this one is ignored")
		case twice:
			i.report(spec.Name, "name", spec.Name, "there are two queues of this name; the first counts")
		default:
			byName[spec.Name] = i.clean(spec)
		}
	}
	return byName
}

// clean is a spec in which everything makes sense by itself.
func (i *inspector) clean(spec Spec) Spec {
	name := spec.Name
	spec.Guaranteed = i.amounts(name, "guaranteed", spec.Guaranteed)
	spec.Limit = i.amounts(name, "limit", spec.Limit)
	spec.Users.Limit = i.amounts(name, "users.limit", spec.Users.Limit)
	spec.Weight = i.within(name, "weight", spec.Weight, 0, maxWeight)
	spec.MaxRunningGangs = i.within(name, "maxRunningGangs", spec.MaxRunningGangs, 0, maxCount)
	spec.Users.MaxRunningGangs = i.within(name, "users.maxRunningGangs", spec.Users.MaxRunningGangs, 0, maxCount)
	spec.MaxLeaderShare = i.within(name, "maxLeaderShare", spec.MaxLeaderShare, 1, 100)
	spec.Users.MinimumShare = i.within(name, "users.minimumShare", spec.Users.MinimumShare, 1, 100)
	spec.Reclaim.Budget = i.within(name, "reclaim.budget", spec.Reclaim.Budget, 1, 100)
	if i.within(name, "reclaim.deadZone", &spec.Reclaim.DeadZone, 0, maxCount) == nil {
		spec.Reclaim.DeadZone = 0
	}
	if i.within(name, "reclaim.utilization", &spec.Reclaim.Utilization, 0, 100) == nil {
		spec.Reclaim.Utilization = 0
	}
	spec.Reclaim.After = *i.duration(name, "reclaim.after", &spec.Reclaim.After)
	spec.Reclaim.Protect = *i.duration(name, "reclaim.protect", &spec.Reclaim.Protect)
	if spec.Reclaim.Grace != nil {
		spec.Reclaim.Grace = i.duration(name, "reclaim.grace", spec.Reclaim.Grace)
	}
	spec.Order = oneOf(i, name, "order", spec.Order, FIFO, Fair)
	spec.State = oneOf(i, name, "state", spec.State, Open, Draining, Stopped)

	for _, amount := range spec.Guaranteed {
		if limit, limited := spec.Limit.Of(amount.Name); limited && amount.Value > limit {
			i.report(name, "guaranteed."+string(amount.Name), quantity(amount.Name, amount.Value),
				"more than the queue's limit of %s; counts as %s", quantity(amount.Name, limit), quantity(amount.Name, limit))
		}
	}
	spec.Guaranteed = lower(spec.Guaranteed, spec.Limit)
	return spec
}

// amounts are sorted by name, with what is negative or named twice left out.
func (i *inspector) amounts(queue, field string, amounts Amounts) Amounts {
	var clean Amounts
	for _, amount := range amounts {
		path := field + "." + string(amount.Name)
		_, twice := clean.Of(amount.Name)
		switch {
		case amount.Value < 0:
			i.report(queue, path, quantity(amount.Name, amount.Value), "must not be negative; counts as not written")
		case twice:
			i.report(queue, path, quantity(amount.Name, amount.Value), "named twice; the first counts")
		default:
			clean = append(clean, resource.Amount{Name: amount.Name, Value: min(amount.Value, resource.LimitCap)})
		}
	}
	slices.SortFunc(clean, byName)
	return clean
}

// within is a number that lies between least and most, else nil.
func (i *inspector) within(queue, field string, value *int64, least, most int64) *int64 {
	switch {
	case value == nil:
		return nil
	case *value < least:
		i.report(queue, field, fmt.Sprint(*value), "must be at least %d; counts as not written", least)
		return nil
	case *value > most:
		i.report(queue, field, fmt.Sprint(*value), "must be at most %d; counts as not written", most)
		return nil
	default:
		return value
	}
}

func (i *inspector) duration(queue, field string, value *time.Duration) *time.Duration {
	if *value < 0 {
		i.report(queue, field, value.String(), "must not be negative; counts as 0s")
		return new(time.Duration)
	}
	return value
}

// oneOf is a word that is known, else the first of those that are.
func oneOf[T ~string](i *inspector, queue, field string, value T, known ...T) T {
	if value == "" {
		return known[0]
	}
	if !slices.Contains(known, value) {
		i.report(queue, field, string(value), "must be one of %v; counts as %s", known, known[0])
		return known[0]
	}
	return value
}

// parents are the parent of every queue; empty means the top. What names no queue and what goes round in a circle stands
// at the top, because that is where it takes nothing from anybody and nothing stops it.
func (i *inspector) parents(byName map[string]Spec) map[string]string {
	parents := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		parent := byName[name].Parent
		if _, known := byName[parent]; parent != "" && !known {
			i.report(name, "parent", parent, "there is no such queue; this one stands at the top meanwhile")
			parent = ""
		}
		parents[name] = parent
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if circle := circle(byName, name); circle != nil {
			parents[name] = ""
			i.report(name, "parent", byName[name].Parent, "the parents go round in a circle (%s); every queue of it stands at the top meanwhile", strings.Join(circle, " → "))
		}
	}
	return parents
}

// circle is the way from a queue over its parents back to itself; nil means there is none.
func circle(byName map[string]Spec, name string) []string {
	way := []string{name}
	for at := byName[name].Parent; at != "" && len(way) <= len(byName); at = byName[at].Parent {
		way = append(way, at)
		if at == name {
			return way
		}
	}
	return nil
}

// lower are amounts cut down to limits.
func lower(amounts, limits Amounts) Amounts {
	lowered := slices.Clone(amounts)
	for j, amount := range lowered {
		if limit, limited := limits.Of(amount.Name); limited {
			lowered[j].Value = min(amount.Value, limit)
		}
	}
	return lowered
}

func quantity(name v1.ResourceName, value int64) string {
	return resource.Quantity(name, value).String()
}
