package cluster

import (
	"os/exec"
	"runtime"
	"sync"
)

// startRequest asks the spawner to start cmd.
type startRequest struct {
	cmd  *exec.Cmd
	done chan<- error
}

// spawner starts every process of every cluster from one OS thread that lives as long as this program: the kernel sends
// a process its parent-death signal when the *thread* that started it ends, and Go ends threads as it likes.
var spawner = sync.OnceValue(func() chan<- startRequest {
	requests := make(chan startRequest)
	go func() {
		runtime.LockOSThread()
		for request := range requests {
			request.done <- request.cmd.Start()
		}
	}()
	return requests
})

func startOnSpawner(cmd *exec.Cmd) error {
	done := make(chan error, 1)
	spawner() <- startRequest{cmd: cmd, done: done}
	return <-done
}
