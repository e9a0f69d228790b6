// Package dns is the DNS server of the cluster: CoreDNS on an address that every pod reaches.
package dns

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"text/template"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"retinue.dev/retinue/test/e2e/daemon"
)

// Config says where the server listens and what it reads. All of it is required.
type Config struct {
	Binary     string // of CoreDNS
	Dir        string // for its configuration
	Logs       string // folder
	Address    netip.Addr
	Kubeconfig string // of a user who may list and watch services, endpoint slices and namespaces
}

//go:embed Corefile
var corefile string

var corefileTemplate = template.Must(template.New("Corefile").Parse(corefile))

const (
	readyTimeout  = time.Minute
	readyInterval = 50 * time.Millisecond
)

// Start starts the server and returns when it answers.
func Start(ctx context.Context, config Config) (*daemon.Daemon, error) {
	path := filepath.Join(config.Dir, "Corefile")
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("dns: %w", err)
	}
	if err := errors.Join(corefileTemplate.Execute(file, config), file.Close()); err != nil {
		return nil, fmt.Errorf("dns: write %s: %w", path, err)
	}
	server, err := daemon.Start(filepath.Join(config.Logs, "coredns.log"), exec.Command(config.Binary, "-conf", path))
	if err != nil {
		return nil, fmt.Errorf("dns: %w", err)
	}
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, net.JoinHostPort(config.Address.String(), "53"))
	}}
	var last error
	err = wait.PollUntilContextTimeout(ctx, readyInterval, readyTimeout, true, func(ctx context.Context) (bool, error) {
		if err := server.Err(); err != nil {
			return false, err
		}
		_, last = resolver.LookupHost(ctx, "kubernetes.default.svc.cluster.local.")
		return last == nil, nil
	})
	if err != nil {
		return nil, fmt.Errorf("dns: %w", errors.Join(err, last))
	}
	return server, nil
}
