package sim

import (
	"bytes"
	"runtime"
	"strconv"
)

// goroutine is the number of the calling goroutine. The plugin reads its informers both from goroutines of its own and
// from within calls of the simulation: only the former have to wait for their turn.
func goroutine() uint64 {
	var buffer [64]byte
	text := buffer[:runtime.Stack(buffer[:], false)]
	text = bytes.TrimPrefix(text, []byte("goroutine "))
	digits, _, _ := bytes.Cut(text, []byte(" "))
	number, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil {
		panic("sim: the number of a goroutine cannot be read: " + err.Error())
	}
	return number
}
