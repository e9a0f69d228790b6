package cluster

import (
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Cluster is a cluster that was started, by this process or another. Its methods may be called from several goroutines.
type Cluster struct {
	config     Config // complete; Progress is never nil
	pki        *pki
	restConfig *rest.Config
	client     kubernetes.Interface
	probes     *http.Client

	mu       sync.Mutex // guards everything below
	state    state
	launched map[Component]time.Time // component -> when this process started it
}

// Open finds the cluster in a directory. It returns fs.ErrNotExist, wrapped, when there is none.
func Open(dir string) (*Cluster, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	s, err := readState(dir)
	if err != nil {
		return nil, err
	}
	s.Config.Dir = dir
	config, err := s.Config.complete()
	if err != nil {
		return nil, err
	}
	return newCluster(config, s)
}

// newCluster makes credentials, keeping those that exist, and clients. It starts nothing.
func newCluster(config Config, s state) (*Cluster, error) {
	p, err := createPKI(config)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	c := &Cluster{config: config, pki: p, state: s, launched: map[Component]time.Time{}}
	admin, err := c.UserKubeconfig(adminName, adminName, "system:masters")
	if err != nil {
		return nil, err
	}
	if c.probes, err = newProbeClient(p); err != nil {
		return nil, err
	}
	if c.restConfig, err = clientcmd.BuildConfigFromFlags("", admin); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	c.restConfig.QPS, c.restConfig.Burst = 5000, 10000 // requests a second: no limit but the API server's own
	c.restConfig.UserAgent = "retinue-cluster"
	compact := rest.CopyConfig(c.restConfig) // thousands of nodes as JSON would keep a core busy
	compact.ContentType = runtime.ContentTypeProtobuf
	compact.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	if c.client, err = kubernetes.NewForConfig(compact); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	for name, user := range map[Component]string{
		ControllerManager: "system:kube-controller-manager",
		DefaultScheduler:  "system:kube-scheduler",
	} {
		if _, err := c.UserKubeconfig(string(name), user); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// RESTConfig is a copy of the administrator's client configuration.
func (c *Cluster) RESTConfig() *rest.Config { return rest.CopyConfig(c.restConfig) }

// Client is the administrator's client.
func (c *Cluster) Client() kubernetes.Interface { return c.client }

// Config is the configuration with its defaults filled in.
func (c *Cluster) Config() Config { return c.config }

// Port is the port the component listens on.
func (c *Cluster) Port(component Component) int { return c.config.port(component) }

// AuthorityFile is the certificate by which everything in the cluster can be verified.
func (c *Cluster) AuthorityFile() string { return c.pki.certFile(authorityName) }

// LogFile is where the component writes its log. Restarts append to it.
func (c *Cluster) LogFile(component Component) string {
	return c.path(logsDir, string(component)+".log")
}

// PID is the component's process id, 0 when it does not run.
func (c *Cluster) PID(component Component) int {
	if p := c.recorded(component); p.alive() {
		return p.PID
	}
	return 0
}

// Running tells whether the component's process is alive.
func (c *Cluster) Running(component Component) bool { return c.recorded(component).alive() }

func (c *Cluster) recorded(component Component) started {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Processes[component]
}

// record keeps what was started for a component.
func (c *Cluster) record(component Component, what started) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Processes[component] = what
	c.launched[component] = time.Now()
	return c.state.write()
}

// forget is for a component that was stopped.
func (c *Cluster) forget(component Component) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, recorded := c.state.Processes[component]; !recorded {
		return nil
	}
	delete(c.state.Processes, component)
	return c.state.write()
}

// startedAt is when this process started the component; ours is false, and the time is now, if it did not.
func (c *Cluster) startedAt(component Component) (at time.Time, ours bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ours = c.launched[component]; !ours {
		at = time.Now()
	}
	return at, ours
}

func (c *Cluster) progress(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.config.Progress, format+"\n", args...)
}
