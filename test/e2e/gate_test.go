//go:build e2e

package e2e

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// gate is a URL that answers when the test opens it: an application that asks for it is held until then.
type gate struct {
	url string
	// open lets everybody through who waits, and who comes later.
	open    func()
	arrived atomic.Int64
}

func newGate(t *testing.T) *gate {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(gateway.Addr().String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan struct{})
	g := &gate{url: "http://" + listener.Addr().String(), open: sync.OnceFunc(func() { close(opened) })}
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		g.arrived.Add(1)
		select {
		case <-opened:
		case <-request.Context().Done():
		}
	})}
	go func() { _ = server.Serve(listener) }() // ends with Close, and says so in its error
	t.Cleanup(func() { server.Close() })
	return g
}
