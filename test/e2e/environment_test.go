//go:build e2e

package e2e

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"retinue.dev/retinue/test/audit"
	"retinue.dev/retinue/test/cluster"
	"retinue.dev/retinue/test/e2e/distribution"
	"retinue.dev/retinue/test/e2e/dns"
	"retinue.dev/retinue/test/e2e/node"
	"retinue.dev/retinue/test/e2e/witness"
)

// Addresses inside the sandbox, where nobody else has any.
var (
	gateway = netip.MustParsePrefix("10.77.0.1/24") // API server, DNS and the tests themselves
	podsOf  = func(number int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 78, byte(number), 0}), 24)
	}
	addressOf = func(number int) netip.Addr { return netip.AddrFrom4([4]byte{10, 77, 0, byte(10 + number)}) }
)

// Sizes. A pod of Spark with 512 MiB of heap requests 896 MiB, so a node takes three of them and both nodes take
// six: one application of four pods, and half of another.
const (
	nodeCount  = 2
	nodeMemory = 3 << 30 // bytes
	executors  = 3       // of each application
	heap       = "512m"
	podMemory  = "896Mi" // heap and overhead of a JVM pod
	podCPU     = "100m"  // little, so that memory alone decides
)

const (
	namespace      = "spark-apps"
	serviceAccount = "spark"
	readyTimeout   = 3 * time.Minute
	pollInterval   = 100 * time.Millisecond
)

//go:embed files/setup.yaml
var setup string

// settings are what an environment is made from.
type settings struct {
	spark distribution.Distribution
	// schedulers are archives of the scheduler's image.
	schedulers []string
	dir        string // for everything
	binaries   string
	progress   io.Writer
}

// Places in dir that salvage knows.
func (s settings) logs() string       { return filepath.Join(s.dir, "logs") }
func (s settings) controlDir() string { return filepath.Join(s.dir, "control-plane") }

// environment is a cluster with real nodes and a witness.
type environment struct {
	settings
	control *cluster.Cluster
	client  kubernetes.Interface
	nodes   []*node.Node
	witness *witness.Witness
	// audit is of what the scheduler's account asks for.
	audit audit.Log
	// userKubeconfig is of the service account that submits applications.
	userKubeconfig string
}

func startEnvironment(ctx context.Context, s settings) (*environment, error) {
	e := &environment{settings: s, nodes: make([]*node.Node, nodeCount)}
	if err := os.MkdirAll(s.logs(), 0o755); err != nil {
		return nil, err
	}
	if err := node.Prepare(ctx, gateway); err != nil {
		return nil, err
	}
	if err := e.startControlPlane(ctx); err != nil {
		return nil, err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return e.startDNS(groupCtx) })
	for i := range e.nodes {
		config, err := e.nodeConfig(i + 1)
		if err != nil {
			return nil, err
		}
		group.Go(func() error {
			var err error
			e.nodes[i], err = node.Start(groupCtx, config)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := e.awaitNodes(ctx); err != nil {
		return nil, err
	}
	var err error
	e.witness, err = witness.Watch(ctx, e.client, witness.Gangs{Executors: executors, Request: corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse(podCPU), corev1.ResourceMemory: resource.MustParse(podMemory),
	}})
	return e, err
}

// startControlPlane starts the very control plane of `make cluster-up`, on an address that nodes and pods reach, and
// next to Retinue the scheduler of Kubernetes, for comparison.
func (e *environment) startControlPlane(ctx context.Context) error {
	var err error
	if e.audit, err = audit.New(filepath.Join(e.dir, "audit"), "system:serviceaccount:"+cluster.SchedulerNamespace+":"+cluster.SchedulerServiceAccount); err != nil {
		return err
	}
	e.control, err = cluster.Start(ctx, cluster.Config{
		Dir:        e.controlDir(),
		Components: []cluster.Component{cluster.Etcd, cluster.APIServer, cluster.ControllerManager, cluster.Scheduler, cluster.DefaultScheduler},
		Address:    gateway.Addr().String(),
		Binaries:   e.binaries,
		ExtraArgs:  map[cluster.Component][]string{cluster.APIServer: e.audit.Arguments()},
		Progress:   e.progress,
	})
	if err != nil {
		return err
	}
	e.client = e.control.Client()
	manifest := filepath.Join(e.dir, "setup.yaml")
	if err := os.WriteFile(manifest, []byte(setup), 0o644); err != nil {
		return err
	}
	if _, err := e.control.Kubectl(ctx, "apply", "-f", manifest); err != nil {
		return err
	}
	e.userKubeconfig, err = e.serviceAccountKubeconfig(ctx)
	return err
}

func (e *environment) startDNS(ctx context.Context) error {
	kubeconfig, err := e.control.UserKubeconfig("coredns", "coredns")
	if err != nil {
		return err
	}
	_, err = dns.Start(ctx, dns.Config{
		Binary: filepath.Join(e.binaries, "coredns"), Dir: e.dir, Logs: e.logs(), Address: gateway.Addr(), Kubeconfig: kubeconfig,
	})
	return err
}

func (e *environment) nodeConfig(number int) (node.Config, error) {
	name := fmt.Sprintf("node-%d", number)
	kubelet, err := e.control.UserKubeconfig("kubelet-"+name, "system:node:"+name, "system:nodes")
	if err != nil {
		return node.Config{}, err
	}
	proxy, err := e.control.UserKubeconfig("kube-proxy-"+name, "system:kube-proxy")
	if err != nil {
		return node.Config{}, err
	}
	return node.Config{
		Name:            name,
		Dir:             filepath.Join(e.dir, name),
		Logs:            e.logs(),
		Address:         addressOf(number),
		Gateway:         gateway,
		Pods:            podsOf(number),
		DNS:             gateway.Addr(),
		Memory:          nodeMemory,
		Cgroup:          filepath.Join(cgroup, name),
		Kubeconfig:      kubelet,
		ProxyKubeconfig: proxy,
		AuthorityFile:   e.control.AuthorityFile(),
		Binaries:        e.binaries,
		Images:          append([]string{e.spark.Archive}, e.schedulers...),
	}, nil
}

// awaitNodes returns when every node is Ready and takes pods.
func (e *environment) awaitNodes(ctx context.Context) error {
	var waiting string
	err := wait.PollUntilContextTimeout(ctx, pollInterval, readyTimeout, true, func(ctx context.Context) (bool, error) {
		if err := e.err(); err != nil {
			return false, err
		}
		list, err := e.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		ready := 0
		for i := range list.Items {
			if waiting = notReady(&list.Items[i]); waiting == "" {
				ready++
			}
		}
		return ready == nodeCount, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the nodes: %w: %s", err, waiting)
	}
	return nil
}

// notReady says why a node takes no pods; empty when it does.
func notReady(n *corev1.Node) string {
	for _, taint := range n.Spec.Taints {
		return fmt.Sprintf("%s has the taint %s", n.Name, taint.Key)
	}
	for _, condition := range n.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status != corev1.ConditionTrue {
			return fmt.Sprintf("%s: %s", n.Name, condition.Message)
		}
	}
	return ""
}

// err is nil as long as the programs of all nodes run.
func (e *environment) err() error {
	for _, n := range e.nodes {
		if err := n.Err(); err != nil {
			return err
		}
	}
	return nil
}
