package cluster

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"github.com/vishvananda/netns"
)

// startRequest asks the spawner to start cmd inside a network namespace.
type startRequest struct {
	cmd              *exec.Cmd
	networkNamespace string
	done             chan<- error
}

// spawner starts every process of every cluster from one OS thread that lives as long as this program: the kernel sends
// a process its parent-death signal when the *thread* that started it ends, and Go ends threads as it likes.
var spawner = sync.OnceValue(func() chan<- startRequest {
	requests := make(chan startRequest)
	go func() {
		runtime.LockOSThread()
		for request := range requests {
			request.done <- inNetworkNamespace(request.networkNamespace, request.cmd.Start)
		}
	}()
	return requests
})

func startOnSpawner(cmd *exec.Cmd, networkNamespace string) error {
	done := make(chan error, 1)
	spawner() <- startRequest{cmd: cmd, networkNamespace: networkNamespace, done: done}
	return <-done
}

// inNetworkNamespace runs do on a thread that is in the network namespace; sockets and processes it makes belong there
// for good. An empty path means the namespace this process is in.
func inNetworkNamespace(path string, do func() error) error {
	if path == "" {
		return do()
	}
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("find the network namespace of this thread: %w", err)
	}
	defer home.Close()
	target, err := netns.GetFromPath(path)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("network namespace %s: %w", path, err)
	}
	defer target.Close()
	if err := netns.Set(target); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace %s: %w", path, err)
	}
	err = do()
	// A thread that cannot go home must not serve other goroutines: left locked, it ends together with this goroutine.
	if homeErr := netns.Set(home); homeErr != nil {
		return fmt.Errorf("leave network namespace %s: %w", path, homeErr)
	}
	runtime.UnlockOSThread()
	return err
}

// dialer connects from inside the network namespace. Addresses must be literal: a name would be looked up by another thread.
func dialer(networkNamespace string) func(ctx context.Context, network, address string) (net.Conn, error) {
	dial := net.Dialer{Timeout: 10 * time.Second}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		var conn net.Conn
		err := inNetworkNamespace(networkNamespace, func() error {
			var err error
			conn, err = dial.DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
}
