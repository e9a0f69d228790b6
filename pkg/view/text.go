package view

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"

	"retinue.dev/retinue/pkg/resource"
)

// none stands in a table for what is not there, or not known.
const none = "-"

// maxTextBytes bounds a text of somebody else's that is shown.
const maxTextBytes = 2 << 10

// Clean is a text that may come from anybody, fit to be shown on a terminal: one line, without control characters, and not too long.
func Clean(text string) string {
	if len(text) > maxTextBytes {
		text = text[:maxTextBytes] + "…"
	}
	text = strings.ToValidUTF8(text, "�")
	return strings.Join(strings.FieldsFunc(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		if unicode.IsSpace(r) {
			return ' '
		}
		return '·'
	}, text), func(r rune) bool { return r == ' ' }), " ")
}

// or is the text, or a dash where there is none.
func or(text string) string {
	if text = Clean(text); text == "" {
		return none
	}
	return text
}

// Age is a duration in two units at most: 42s, 4m12s, 1h02m, 3d4h.
func Age(d time.Duration) string {
	const day = 24 * time.Hour
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	}
}

// Amount is an amount of a resource as short as it can be read, with three digits at most of a size: 2.5, 1.4Ti, 380.
func Amount(name v1.ResourceName, quantity apiresource.Quantity) string {
	value := resource.OfList(v1.ResourceList{name: quantity}).Of(name)
	switch {
	case name == v1.ResourceCPU:
		return strconv.FormatFloat(math.Round(float64(value)/10)/100, 'f', -1, 64)
	case resource.Quantity(name, 1024).Format == apiresource.BinarySI:
		return size(value)
	default:
		return strconv.FormatInt(value, 10)
	}
}

// size is a number of bytes.
func size(bytes int64) string {
	value, unit := float64(bytes), ""
	for _, next := range []string{"Ki", "Mi", "Gi", "Ti", "Pi", "Ei"} {
		if math.Abs(value) < 1000 {
			break
		}
		value, unit = value/1024, next
	}
	digits := 0
	if unit != "" && math.Abs(value) < 9.95 {
		digits = 1
	}
	text := strconv.FormatFloat(value, 'f', digits, 64)
	return strings.TrimSuffix(text, ".0") + unit
}

// Amounts are all amounts of a list that are not zero: "cpu 4, memory 8.8Gi".
func Amounts(list v1.ResourceList) string {
	var parts []string
	for _, name := range names(list) {
		if quantity := list[name]; !quantity.IsZero() {
			parts = append(parts, string(name)+" "+Amount(name, quantity))
		}
	}
	return strings.Join(parts, ", ")
}

// names are the resources of lists: cpu and memory first, then the others by name.
func names(lists ...v1.ResourceList) []v1.ResourceName {
	all := map[v1.ResourceName]bool{}
	for _, list := range lists {
		for name := range list {
			all[name] = true
		}
	}
	var ordered []v1.ResourceName
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
		if all[name] {
			ordered = append(ordered, name)
			delete(all, name)
		}
	}
	return append(ordered, slices.Sorted(maps.Keys(all))...)
}

// amountOf is the amount of a resource in a list, and whether the list names it.
func amountOf(list v1.ResourceList, name v1.ResourceName) (int64, bool) {
	quantity, there := list[name]
	if !there {
		return 0, false
	}
	return resource.OfList(v1.ResourceList{name: quantity}).Of(name), true
}
