package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Start makes the cluster run as config says and returns when all of it is ready. What runs already in config.Dir and
// is up to date stays as it is; what is missing or outdated is started. When it fails, what it started is stopped again.
func Start(ctx context.Context, config Config) (*Cluster, error) {
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(config.Dir)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	c, err := openOrCreate(config)
	if err != nil {
		return nil, err
	}
	before := c.runningComponents()
	if err := c.startAll(ctx); err != nil {
		// The context may be the reason for the failure; stopping must go on without it.
		return nil, errors.Join(err, c.stopComponents(context.WithoutCancel(ctx), before))
	}
	return c, nil
}

// openOrCreate takes over the cluster in config.Dir if anything of it runs. Otherwise it begins an empty one.
func openOrCreate(config Config) (*Cluster, error) {
	s, err := readState(config.Dir)
	if err != nil && !notExist(err) {
		return nil, err
	}
	if err == nil && s.anyAlive() {
		if config.PortBase == 0 {
			config.PortBase = s.Config.PortBase
		}
		if differences := fixedDifferences(s.Config, config); len(differences) > 0 {
			return nil, fmt.Errorf("cluster: the one that runs in %s has %s: stop it first (`make cluster-down`)",
				config.Dir, strings.Join(differences, ", "))
		}
	} else {
		if err := clean(config.Dir, append(ownedPaths, logsDir)...); err != nil {
			return nil, fmt.Errorf("cluster: remove what an earlier one left: %w", err)
		}
		if config.PortBase == 0 {
			if config.PortBase, err = freePorts(config.Address); err != nil {
				return nil, fmt.Errorf("cluster: %w", err)
			}
		}
		boot, err := bootID()
		if err != nil {
			return nil, err
		}
		s = state{BootID: boot, Processes: map[Component]started{}}
	}
	s.Config = config
	for _, dir := range []string{logsDir, "kwok", "scheduler", "kubectl"} {
		if err := os.MkdirAll(filepath.Join(config.Dir, dir), 0o755); err != nil {
			return nil, fmt.Errorf("cluster: %w", err)
		}
	}
	c, err := newCluster(config, s)
	if err != nil {
		return nil, err
	}
	return c, c.state.write()
}

// fixedDifferences names the settings that cannot change while the cluster runs, with the value each has now.
func fixedDifferences(running, wanted Config) []string {
	var differences []string
	for _, setting := range []struct {
		name            string
		running, wanted any
	}{
		{"Address", running.Address, wanted.Address},
		{"PortBase", running.PortBase, wanted.PortBase},
		{"ServiceCIDR", running.ServiceCIDR, wanted.ServiceCIDR},
		{"PodCIDR", running.PodCIDR, wanted.PodCIDR},
		{"Detached", running.Detached, wanted.Detached},
	} {
		if setting.running != setting.wanted {
			differences = append(differences, fmt.Sprintf("%s %v, not %v", setting.name, setting.running, setting.wanted))
		}
	}
	return differences
}

// startAll starts the components; those that do not wait for each other become ready side by side.
func (c *Cluster) startAll(ctx context.Context) error {
	for _, component := range c.runningComponents() {
		if !c.config.runs(component) {
			if err := c.StopComponent(ctx, component); err != nil {
				return err
			}
		}
	}
	// All of them before the first start, so that a taken port is told at once.
	for _, component := range c.config.Components {
		if !c.Running(component) {
			if err := c.checkPorts(component); err != nil {
				return err
			}
		}
	}
	for _, component := range []Component{Etcd, APIServer} {
		if c.config.runs(component) {
			if err := c.StartComponent(ctx, component); err != nil {
				return err
			}
		}
	}
	if !c.config.runs(APIServer) {
		return nil
	}
	var launched []Component
	if c.config.runs(ControllerManager) {
		if err := c.launch(ctx, ControllerManager); err != nil {
			return err
		}
		launched = append(launched, ControllerManager)
	}
	if _, err := c.Kubectl(ctx, "apply", "-k", c.config.Manifests); err != nil {
		return err
	}
	c.progress("%-24s applied", "manifests")
	for _, component := range []Component{Kwok, Scheduler, StandbyScheduler, DefaultScheduler} {
		if !c.config.runs(component) {
			continue
		}
		if err := c.launch(ctx, component); err != nil {
			return err
		}
		launched = append(launched, component)
	}
	for _, component := range launched {
		if err := c.await(ctx, component); err != nil {
			return err
		}
	}
	return nil
}

// StartComponent starts a component that does not run and returns when it is ready. One that runs the same binary,
// arguments and configuration already is left alone; one that is outdated is restarted.
func (c *Cluster) StartComponent(ctx context.Context, component Component) error {
	before := c.PID(component)
	if err := c.launch(ctx, component); err != nil {
		return err
	}
	if err := c.await(ctx, component); err != nil {
		return err
	}
	if serves := component == Etcd || component == APIServer; !serves || c.PID(component) == before {
		return nil
	}
	return c.renewKwok(ctx)
}

// renewKwok starts a kwok anew that runs through a restart of the API server. kwok lists the pods of a node once, when
// it takes the node: one that nobody answered would leave the pods that were bound meanwhile Pending for ever, where a
// kubelet lists again.
func (c *Cluster) renewKwok(ctx context.Context) error {
	if !c.Running(Kwok) || !c.Running(APIServer) {
		return nil
	}
	if err := c.await(ctx, APIServer); err != nil { // it may have waited for etcd
		return err
	}
	if err := c.KillComponent(ctx, Kwok); err != nil {
		return err
	}
	return c.StartComponent(ctx, Kwok)
}

// launch starts the process and does not wait until it is ready.
func (c *Cluster) launch(ctx context.Context, component Component) error {
	if !component.known() {
		return fmt.Errorf("cluster: unknown component %q", component)
	}
	if err := c.writeFiles(component); err != nil {
		return err
	}
	fingerprint, err := c.fingerprint(component)
	if err != nil {
		return err
	}
	if running := c.recorded(component); running.alive() {
		if running.Fingerprint == fingerprint {
			c.progress("%-24s runs already, pid %d", component, running.PID)
			return nil
		}
		c.progress("%-24s is outdated: stopping it to start it anew", component)
		if err := c.StopComponent(ctx, component); err != nil {
			return err
		}
	}
	if err := c.checkPorts(component); err != nil {
		return err
	}
	if err := c.permit(ctx, component); err != nil {
		return err
	}
	p, err := spawn(c.LogFile(component), c.config.Detached, c.binary(component), c.arguments(component)...)
	if err != nil {
		return fmt.Errorf("cluster: %s: %w", component, err)
	}
	c.progress("%-24s started, pid %d", component, p.PID)
	return c.record(component, started{process: p, Fingerprint: fingerprint})
}

// writeFiles writes what the component reads when it starts.
func (c *Cluster) writeFiles(component Component) error {
	switch {
	case component == Kwok:
		return c.writeKwokFiles()
	case component.isRetinue():
		return c.writeSchedulerFiles()
	default:
		return nil
	}
}

// permit lets the API server know the component, where that takes more than a certificate.
func (c *Cluster) permit(ctx context.Context, component Component) error {
	switch {
	case component == Kwok:
		return c.permitKwok(ctx)
	case component.isRetinue():
		return c.requestSchedulerToken(ctx)
	default:
		return nil
	}
}

// checkPorts returns a PortTakenError when the component could not listen.
func (c *Cluster) checkPorts(component Component) error {
	address := "127.0.0.1"
	if component == APIServer {
		address = c.config.Address
	}
	ports := []int{c.config.port(component)}
	if component == Etcd {
		ports = append(ports, c.config.PortBase+etcdPeerOffset)
	}
	for _, port := range ports {
		err := portFree(address, port)
		var taken *PortTakenError
		if errors.As(err, &taken) {
			taken.Component = component
		}
		if err != nil {
			return fmt.Errorf("cluster: %w", err)
		}
	}
	return nil
}

// StopComponent ends a component in good order and returns when it is gone. It does nothing when it does not run.
func (c *Cluster) StopComponent(ctx context.Context, component Component) error {
	return c.end(component, c.recorded(component).stop(ctx))
}

// KillComponent ends a component with SIGKILL, as a crash would, and returns when it is gone.
func (c *Cluster) KillComponent(ctx context.Context, component Component) error {
	return c.end(component, c.recorded(component).kill(ctx))
}

func (c *Cluster) end(component Component, err error) error {
	if err != nil {
		return fmt.Errorf("cluster: stop %s: %w", component, err)
	}
	return c.forget(component)
}

// runningComponents are in the order of their start.
func (c *Cluster) runningComponents() []Component {
	var running []Component
	for _, component := range startOrder {
		if c.Running(component) {
			running = append(running, component)
		}
	}
	return running
}

// stopComponents stops everything but keep, those that need others first.
func (c *Cluster) stopComponents(ctx context.Context, keep []Component) error {
	var errs []error
	for _, component := range slices.Backward(startOrder) {
		if slices.Contains(keep, component) {
			continue
		}
		running := c.Running(component)
		began := time.Now()
		if err := c.StopComponent(ctx, component); err != nil {
			errs = append(errs, err)
		} else if running {
			c.progress("%-24s stopped after %.1f s", component, time.Since(began).Seconds())
		}
	}
	return errors.Join(errs...)
}

// Stop ends every process of the cluster and removes its data and credentials; the logs stay. Stopping twice is safe.
func (c *Cluster) Stop(ctx context.Context) error {
	lock, err := lockDir(c.config.Dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := c.stopComponents(ctx, nil); err != nil {
		return err
	}
	if err := clean(c.config.Dir, ownedPaths...); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	return nil
}

// Down stops the cluster in a directory, whoever started it, and needs neither binaries nor manifests for that.
// Where there is none it says so and returns nil.
func Down(ctx context.Context, dir string, progress io.Writer) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	s, err := readState(dir)
	if notExist(err) {
		fmt.Fprintf(progress, "no cluster in %s\n", dir)
		return nil
	}
	if err != nil {
		return err
	}
	s.Config.Dir, s.Config.Progress = dir, progress
	return (&Cluster{config: s.Config, state: s}).Stop(ctx)
}
