package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	readyTimeout   = 3 * time.Minute       // a component that is not ready by then will not be; a busy two-core machine needs half a minute
	firstInterval  = 50 * time.Millisecond // between two probes; it doubles up to readyInterval, as each failed one is a line in the log
	readyInterval  = 500 * time.Millisecond
	stillWaiting   = 5 * time.Second // between two lines of progress
	tailLines      = 15
	requestTimeout = 2 * time.Second
)

// ComponentError is a component that ended or did not become ready, with the last lines of its log.
type ComponentError struct {
	Component Component
	LogFile   string
	Tail      string
	Err       error
}

func (e *ComponentError) Error() string {
	return fmt.Sprintf("%s: %v; the end of %s:\n%s", e.Component, e.Err, e.LogFile, e.Tail)
}

func (e *ComponentError) Unwrap() error { return e.Err }

// await returns when the component is ready, and with a ComponentError when it ends or takes too long.
func (c *Cluster) await(ctx context.Context, component Component) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	began, ours := c.startedAt(component)
	told := time.Now()
	for interval := firstInterval; ; interval = min(2*interval, readyInterval) {
		err := c.ready(ctx, component)
		if err == nil {
			if ours {
				c.progress("%-24s ready after %.1f s", component, time.Since(began).Seconds())
			}
			return nil
		}
		if !c.Running(component) {
			return c.componentError(component, errors.New("ended while it started"))
		}
		if time.Since(told) > stillWaiting {
			told = time.Now()
			c.progress("%-24s not ready after %.0f s: %v", component, time.Since(began).Seconds(), err)
		}
		select {
		case <-ctx.Done():
			return c.componentError(component, fmt.Errorf("not ready after %.0f s: %w", time.Since(began).Seconds(), errors.Join(ctx.Err(), err)))
		case <-time.After(interval):
		}
	}
}

func (c *Cluster) componentError(component Component, err error) error {
	return &ComponentError{Component: component, LogFile: c.LogFile(component), Tail: tail(c.LogFile(component), tailLines), Err: err}
}

// ready is nil when the component works.
func (c *Cluster) ready(ctx context.Context, component Component) error {
	switch component {
	case Etcd:
		return c.probe(ctx, "https://"+local(c.config.port(Etcd))+"/readyz")
	case APIServer:
		return c.probe(ctx, c.Server()+"/readyz")
	case ControllerManager:
		if err := c.probe(ctx, "https://"+local(c.config.port(ControllerManager))+"/healthz"); err != nil {
			return err
		}
		// No pod can be created in a namespace before its service account exists.
		_, err := c.client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return errors.New("no default service account yet")
		}
		return err
	case Kwok:
		return c.probe(ctx, "http://"+local(c.config.port(Kwok))+"/healthz")
	case Scheduler:
		return c.replicaReady(ctx, Scheduler, StandbyScheduler)
	case StandbyScheduler:
		return c.replicaReady(ctx, StandbyScheduler, Scheduler)
	default:
		return c.probe(ctx, "https://"+local(c.config.port(component))+"/readyz")
	}
}

// replicaReady is nil when a replica of the scheduler works, or is healthy while the other one works: a replica that
// waits for the lease reads nothing from the API server (delayCacheUntilActive) and therefore never calls itself ready.
func (c *Cluster) replicaReady(ctx context.Context, replica, other Component) error {
	err := c.probe(ctx, "https://"+local(c.config.port(replica))+"/readyz")
	if err == nil || !c.Running(other) {
		return err
	}
	if err := c.probe(ctx, "https://"+local(c.config.port(replica))+"/healthz"); err != nil {
		return err
	}
	return c.probe(ctx, "https://"+local(c.config.port(other))+"/readyz")
}

func (c *Cluster) probe(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := c.probes.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("answers %d: %s", response.StatusCode, failedChecks(string(body)))
	}
	return nil
}

// shownChecks is how many failed checks of one answer are worth a reader's time.
const shownChecks = 3

// failedChecks names the checks of a /readyz answer that failed (lines such as "[-]etcd failed: reason withheld");
// without any, it is the first line.
func failedChecks(body string) string {
	var failed []string
	for line := range strings.Lines(body) {
		if check, ok := strings.CutPrefix(line, "[-]"); ok {
			name, _, _ := strings.Cut(check, " ")
			failed = append(failed, name)
		}
	}
	switch {
	case len(failed) > shownChecks:
		return fmt.Sprintf("waits for %s and %d more", strings.Join(failed[:shownChecks], ", "), len(failed)-shownChecks)
	case len(failed) > 0:
		return "waits for " + strings.Join(failed, ", ")
	}
	first, _, _ := strings.Cut(body, "\n")
	return first
}

// newProbeClient trusts the cluster's own authority and is the administrator, who may ask before RBAC has its first roles.
func newProbeClient(p *pki) (*http.Client, error) {
	pair, err := tls.LoadX509KeyPair(p.certFile(adminName), p.keyFile(adminName))
	if err != nil {
		return nil, fmt.Errorf("cluster: load the probes' certificate: %w", err)
	}
	authorities := x509.NewCertPool()
	authorities.AddCert(p.cert)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: authorities, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		// A killed component leaves dead connections behind; a probe is rare enough to connect anew.
		DisableKeepAlives: true,
	}}, nil
}

// tail returns the last lines of a file, and says so when it cannot be read.
func tail(path string, lines int) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	content = bytes.TrimRight(content, "\n")
	from := len(content)
	for range lines {
		if from = bytes.LastIndexByte(content[:from], '\n'); from < 0 {
			break
		}
	}
	return string(content[from+1:])
}
