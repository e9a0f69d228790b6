package view

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/gang"
)

// toneOf is red for what waiting does not help, and yellow for everything else that somebody waits for.
func toneOf(reason string) Tone {
	switch trait := gang.Reason(reason).Trait(); {
	case reason == "":
		return Plain
	case trait.Permanent:
		return Bad
	default:
		return Waits
	}
}

var stateTones = map[State]Tone{Waiting: Waits, Starting: Waits, Running: Good, Failed: Bad}

// amount is what it holds of a resource, or asks for while it waits.
func (a App) amount(name v1.ResourceName) string {
	list := a.Holds
	if a.State == Waiting {
		list = a.Asks
	}
	quantity, there := list[name]
	if !there {
		return none
	}
	return Amount(name, quantity)
}

func (a App) position1() string {
	switch {
	case a.Position != nil:
		return fmt.Sprint(*a.Position)
	case a.State == Waiting && a.Of > 0:
		return ">100"
	default:
		return none
	}
}

// AppTable is how applications are shown; with their namespaces if they are of several.
func AppTable(namespaces bool) Table[App] {
	table := Table[App]{
		Name: func(a App) string {
			if a.Kind == KindPodGroup {
				return "podgroup.scheduling.x-k8s.io/" + a.Name
			}
			if a.Kind == KindNative {
				return "podgroup.scheduling.k8s.io/" + a.Name
			}
			return "pod/" + a.Name
		},
		Columns: []Column[App]{
			{Name: "NAME", Text: func(a App) string { return Clean(a.Name) }},
			{Name: "USER", Text: func(a App) string { return or(a.User) }},
			{Name: "STATE", Text: func(a App) string { return string(a.State) }, Tone: func(a App) Tone { return stateTones[a.State] }},
			{Name: "EXEC", Text: func(a App) string {
				if a.Kind == KindPod {
					return none
				}
				return a.Workers.String()
			}},
			{Name: "CPU", Text: func(a App) string { return a.amount(v1.ResourceCPU) }},
			{Name: "MEMORY", Text: func(a App) string { return a.amount(v1.ResourceMemory) }},
			{Name: "%Q", Text: func(a App) string {
				if a.Share == nil || a.State == Waiting {
					return none
				}
				return fmt.Sprintf("%.0f", *a.Share*100)
			}},
			{Name: "WAIT", Passes: true, Text: func(a App) string { return Age(time.Duration(a.Wait) * time.Second) }},
			{Name: "RUN", Passes: true, Text: func(a App) string {
				if a.Run == nil {
					return none
				}
				return Age(time.Duration(*a.Run) * time.Second)
			}},
			{Name: "POS", Text: func(a App) string { return a.position1() }},
			{Name: "REASON", Text: func(a App) string { return or(string(a.Reason)) }, Tone: func(a App) Tone { return toneOf(string(a.Reason)) }},
			{Name: "KIND", Wide: true, Text: func(a App) string { return string(a.Kind) }},
			{Name: "APPLICATION", Wide: true, Text: func(a App) string { return or(a.Application) }},
			{Name: "QUEUE", Wide: true, Text: func(a App) string { return or(a.Queue) }},
			{Name: "MESSAGE", Wide: true, Passes: true, Text: func(a App) string { return or(a.Message) }},
		},
		Fields: []Field[App]{
			{"namespace", func(a App) any { return a.Namespace }},
			{"name", func(a App) any { return a.Name }},
			{"application", func(a App) any { return a.Application }},
			{"kind", func(a App) any { return string(a.Kind) }},
			{"user", func(a App) any { return a.User }},
			{"queue", func(a App) any { return a.Queue }},
			{"state", func(a App) any { return string(a.State) }},
			{"running", func(a App) any { return int64(a.Workers.Running) }},
			{"wanted", func(a App) any { return known(a.Workers.Wanted) }},
			{"minimum", func(a App) any { return known(a.Workers.Minimum) }},
			{"cpu", func(a App) any { return number(a.Holds, v1.ResourceCPU) }},
			{"memory", func(a App) any { return number(a.Holds, v1.ResourceMemory) }},
			{"cpuAsked", func(a App) any { return number(a.Asks, v1.ResourceCPU) }},
			{"memoryAsked", func(a App) any { return number(a.Asks, v1.ResourceMemory) }},
			{"share", func(a App) any {
				if a.Share == nil {
					return nil
				}
				return *a.Share
			}},
			{"submitted", func(a App) any { return a.Submitted.UTC().Format(time.RFC3339) }},
			{"wait", func(a App) any { return a.Wait }},
			{"run", func(a App) any {
				if a.Run == nil {
					return nil
				}
				return *a.Run
			}},
			{"position", func(a App) any {
				if a.Position == nil {
					return nil
				}
				return *a.Position
			}},
			{"reason", func(a App) any { return string(a.Reason) }},
			{"message", func(a App) any { return a.Message }},
			{"actor", func(a App) any { return string(a.Actor) }},
		},
	}
	if namespaces {
		table.Columns = append([]Column[App]{{Name: "NAMESPACE", Text: func(a App) string { return a.Namespace }}}, table.Columns...)
	}
	return table
}

func known(n *int) any {
	if n == nil {
		return nil
	}
	return int64(*n)
}
