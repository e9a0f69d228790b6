package front

import "slices"

func (d *Door) greet() {
	slices.SortFunc(d.keys, byAge) // a comparison is named and not called
	d.again()
}

func byAge(a, b int) int { return a - b }

func (d *Door) again() { d.greet() }
