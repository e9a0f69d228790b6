// Package back is another room.
package back

// Cook reads cellar.go and comes back.
func Cook(of []int) {
	fetch(of)
	serve(of)
}

func serve([]int) {}
