package cluster

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Config says what to run. Its zero value, completed by defaults, is a whole cluster on free ports of 127.0.0.1.
type Config struct {
	// Dir holds the state of the cluster. Required.
	Dir string
	// Components to run; nil means etcd, kube-apiserver, kube-controller-manager, kwok and the scheduler.
	Components []Component

	// Address is the IP address kube-apiserver listens on and advertises; empty means 127.0.0.1.
	// Everything else listens on 127.0.0.1. The `kubernetes` service has an endpoint only when Address is not a loopback address.
	Address string
	// PortBase is the first of eight consecutive ports (portOffsets); kube-apiserver has the first. 0 means free ports.
	PortBase int
	// ServiceCIDR is the range of cluster IPs; empty means 10.96.0.0/16.
	ServiceCIDR string
	// PodCIDR is the range kwok takes pod IPs from; empty means 10.128.0.0/10.
	PodCIDR string

	// ExpectedNodes sizes the heartbeats: the more nodes, the rarer each one's, so that all of them together stay
	// cheap. 0 means few nodes, with the kubelet's own timing.
	ExpectedNodes int
	// LeaderElection makes the scheduler take its lease before it works, as in production. Without it a scheduler
	// that was killed works again as soon as it is restarted.
	LeaderElection bool
	// ExtraArgs: component -> arguments put after the cluster's own, which they override.
	ExtraArgs map[Component][]string

	// Binaries is the directory of the built binaries; empty means bin/ of the repository.
	Binaries string
	// Manifests is the kustomization applied before the scheduler starts; empty means manifests/setup of the repository.
	Manifests string
	// SchedulerConfig is the KubeSchedulerConfiguration file; empty means the one in manifests/setup.
	SchedulerConfig string

	// Detached processes outlive this one. Others are killed by the kernel when this process ends, however it ends.
	Detached bool
	// Progress receives one line for each step; nil means silence.
	Progress io.Writer `json:"-"`
}

// repositoryModule is the first line of the go.mod that marks the top of the repository.
const repositoryModule = "module retinue.dev/retinue"

// complete fills in defaults and checks what was given.
func (c Config) complete() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("cluster: Dir is empty: name the directory for the cluster's state")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return c, fmt.Errorf("cluster: Dir %q: %w", c.Dir, err)
	}
	c.Dir = dir
	if c.Components == nil {
		c.Components = []Component{Etcd, APIServer, ControllerManager, Kwok, Scheduler}
	}
	for _, component := range c.Components {
		if !component.known() {
			return c, fmt.Errorf("cluster: Components: unknown component %q, known are %v", component, startOrder)
		}
	}
	if err := c.completeNetwork(); err != nil {
		return c, err
	}
	if c.ExpectedNodes < 0 {
		return c, fmt.Errorf("cluster: ExpectedNodes %d is negative", c.ExpectedNodes)
	}
	if c.Progress == nil {
		c.Progress = io.Discard
	}
	return c, c.completePaths()
}

func (c *Config) completeNetwork() error {
	if c.Address == "" {
		c.Address = "127.0.0.1"
	}
	if _, err := netip.ParseAddr(c.Address); err != nil {
		return fmt.Errorf("cluster: Address %q is not an IP address", c.Address)
	}
	if c.ServiceCIDR == "" {
		c.ServiceCIDR = "10.96.0.0/16"
	}
	if c.PodCIDR == "" {
		c.PodCIDR = "10.128.0.0/10"
	}
	for field, value := range map[string]string{"ServiceCIDR": c.ServiceCIDR, "PodCIDR": c.PodCIDR} {
		if _, err := netip.ParsePrefix(value); err != nil {
			return fmt.Errorf("cluster: %s %q is not a range such as 10.96.0.0/16", field, value)
		}
	}
	if c.PortBase < 0 || c.PortBase > 65535-portCount {
		return fmt.Errorf("cluster: PortBase %d is not between 0 and %d", c.PortBase, 65535-portCount)
	}
	return nil
}

// completePaths makes every path absolute and checks that the inputs exist.
func (c *Config) completePaths() error {
	root, rootErr := repositoryRoot()
	for _, path := range []struct {
		field    *string
		standard string
	}{
		{&c.Binaries, "bin"},
		{&c.Manifests, "manifests/setup"},
		{&c.SchedulerConfig, "manifests/setup/scheduler-config.yaml"},
	} {
		if *path.field == "" {
			if rootErr != nil {
				return rootErr
			}
			*path.field = filepath.Join(root, path.standard)
		}
		absolute, err := filepath.Abs(*path.field)
		if err != nil {
			return fmt.Errorf("cluster: path %q: %w", *path.field, err)
		}
		*path.field = absolute
	}
	if err := c.checkBinaries(); err != nil {
		return err
	}
	for _, needed := range []string{c.Manifests, c.SchedulerConfig} {
		if _, err := os.Stat(needed); err != nil {
			return fmt.Errorf("cluster: %w", err)
		}
	}
	return nil
}

func (c *Config) checkBinaries() error {
	needed := []string{"kubectl"}
	for _, component := range c.Components {
		needed = append(needed, binaries[component])
	}
	if slices.Contains(c.Components, Kwok) {
		needed = append(needed, kwokStandardStages)
	}
	var missing []string
	for _, name := range needed {
		if _, err := os.Stat(filepath.Join(c.Binaries, name)); err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("cluster: %s lacks %s: run `make binaries` first", c.Binaries, strings.Join(missing, ", "))
	}
	return nil
}

// runs tells whether component is part of the cluster.
func (c *Config) runs(component Component) bool { return slices.Contains(c.Components, component) }

func (c *Config) port(component Component) int { return c.PortBase + portOffsets[component] }

// leaseDuration is how long a fake node's heartbeat is good for. kwok renews at a quarter of it; ten renewals a second
// are a few percent of one core for API server and etcd together, where the kubelet's 40 s would be 500 at 5,000 nodes.
func (c *Config) leaseDuration() time.Duration {
	const renewalsPerSecond = 10
	return max(40*time.Second, 4*time.Second*time.Duration(c.ExpectedNodes)/renewalsPerSecond)
}

// repositoryRoot walks up from the working directory.
func repositoryRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("cluster: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(content), repositoryModule) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("cluster: %s is not inside the repository; give Binaries, Manifests and SchedulerConfig", start)
		}
	}
}
