// Package front is where a walk starts.
package front

import "house.example/back"

// Door is a type with methods in two files.
type Door struct{ keys []int }

// Open reads hall.go, door.go, hall.go again, for what it has read already, and once the other package.
func (d *Door) Open() {
	d.greet()
	d.close()
	func() { d.greet() }()
	back.Cook(d.keys)
}

func (d *Door) close() {}
