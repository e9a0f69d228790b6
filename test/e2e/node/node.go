package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/util/wait"

	"retinue.dev/retinue/test/e2e/daemon"
	"retinue.dev/retinue/test/e2e/image"
	"retinue.dev/retinue/test/e2e/sandbox"
)

// Config describes one node. All of it is required.
type Config struct {
	Name string // also of its network namespace; at most 12 bytes, as interface names are short
	Dir  string // for what it keeps: images, volumes, certificates
	Logs string // folder for the logs of its programs

	Address netip.Addr   // of the node
	Gateway netip.Prefix // as given to Prepare
	Pods    netip.Prefix // the addresses of its pods
	DNS     netip.Addr   // of the cluster's DNS server

	// Memory is what the node offers to pods, in bytes. It must be less than the machine has.
	Memory int64
	// Cgroup is the control group everything on the node runs in, relative to the root; its parent exists.
	Cgroup string

	Kubeconfig      string // of user system:node:NAME in group system:nodes
	ProxyKubeconfig string // of user system:kube-proxy
	AuthorityFile   string // by which the API server's client certificate is verified

	Binaries string   // folder with kubelet, kube-proxy and pause
	Images   []string // OCI archives to have on the node
}

// Node is a node that was started.
type Node struct {
	Config
	daemons []*daemon.Daemon
}

// PauseImage is what keeps the namespaces of a pod.
const PauseImage = "retinue.local/pause:1"

const maxName = 12

// containerdTimeout is generous: containerd answers within a second on an idle machine.
const (
	containerdTimeout  = time.Minute
	containerdInterval = 50 * time.Millisecond
)

// Start starts a node and returns when its kubelet runs, which is before the node is Ready. The context is for the start.
func Start(ctx context.Context, config Config) (*Node, error) {
	n := &Node{Config: config}
	if len(n.Name) == 0 || len(n.Name) > maxName {
		return nil, fmt.Errorf("node: Name %q has %d bytes, want 1 to %d", n.Name, len(n.Name), maxName)
	}
	if _, err := reserved(n.Memory); err != nil {
		return nil, fmt.Errorf("node %s: %w", n.Name, err)
	}
	for _, step := range []func(context.Context) error{
		func(context.Context) error { return n.writeFiles() },
		func(context.Context) error { return sandbox.MakeCgroup(n.Cgroup) },
		n.connect,
		n.startContainerd,
		n.importImages,
		func(context.Context) error { return n.startKubelet() },
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("node %s: %w", n.Name, err), n.Err())
		}
	}
	return n, nil
}

// State is a folder with a short path that is empty when the node starts: the paths of sockets are limited to 107 bytes.
func (n *Node) State() string { return filepath.Join("/run", n.Name) }

// Socket is where containerd listens.
func (n *Node) Socket() string { return filepath.Join(n.State(), "containerd.sock") }

// PauseImage is for the templates.
func (n *Node) PauseImage() string { return PauseImage }

// Reserved is the memory that the node does not offer, in bytes.
func (n *Node) Reserved() (int64, error) { return reserved(n.Memory) }

func reserved(offered int64) (int64, error) {
	var machine unix.Sysinfo_t
	if err := unix.Sysinfo(&machine); err != nil {
		return 0, fmt.Errorf("find the memory of the machine: %w", err)
	}
	total := int64(machine.Totalram) * int64(machine.Unit)
	if offered <= 0 || offered > total {
		return 0, fmt.Errorf("Memory %d is not between 1 and the %d bytes of the machine", offered, total)
	}
	return total - offered, nil
}

func (n *Node) path(name string) string { return filepath.Join(n.Dir, name) }

func (n *Node) startContainerd(ctx context.Context) error {
	if err := n.startDaemon("containerd", "--config="+n.path("containerd.toml")); err != nil {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, containerdInterval, containerdTimeout, true, func(ctx context.Context) (bool, error) {
		if err := n.Err(); err != nil {
			return false, err
		}
		return n.ctr(ctx, "version").run() == nil, nil
	})
}

func (n *Node) ctr(ctx context.Context, arguments ...string) *command {
	return n.command(ctx, "ctr", append([]string{"--address=" + n.Socket(), "--namespace=k8s.io"}, arguments...)...)
}

func (n *Node) importImages(ctx context.Context) error {
	pause := n.path("pause.oci.tar")
	err := image.Write(pause, image.Image{
		Name:   PauseImage,
		Layers: []image.Layer{image.Tree(image.Source{From: filepath.Join(n.Binaries, "pause"), To: "/pause"})},
		Config: ocispec.ImageConfig{Entrypoint: []string{"/pause"}},
	})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, archive := range append([]string{pause}, n.Images...) {
		group.Go(func() error { return n.ctr(ctx, "images", "import", archive).run() })
	}
	return group.Wait()
}

func (n *Node) startKubelet() error {
	err := n.startDaemon(filepath.Join(n.Binaries, "kubelet"),
		"--config="+n.path("kubelet.yaml"),
		"--kubeconfig="+n.Kubeconfig,
		"--root-dir="+n.path("kubelet"),
		"--cert-dir="+n.path("kubelet-pki"),
		"--hostname-override="+n.Name,
		"--node-ip="+n.Address.String(),
		"--v=2",
	)
	if err != nil {
		return err
	}
	return n.startDaemon(filepath.Join(n.Binaries, "kube-proxy"), "--config="+n.path("kube-proxy.yaml"), "--v=1")
}

// startDaemon starts a program on the node.
func (n *Node) startDaemon(program string, arguments ...string) error {
	log := filepath.Join(n.Logs, n.Name+"-"+filepath.Base(program)+".log")
	d, err := daemon.Start(log, n.command(context.Background(), program, arguments...).Cmd)
	if err != nil {
		return err
	}
	n.daemons = append(n.daemons, d)
	return nil
}

// Err is nil as long as every program of the node runs.
func (n *Node) Err() error {
	var errs []error
	for _, d := range n.daemons {
		errs = append(errs, d.Err())
	}
	return errors.Join(errs...)
}
