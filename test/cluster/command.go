package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// arguments are what the component is started with. Everything they name exists by then.
func (c *Cluster) arguments(component Component) []string {
	var args []string
	switch component {
	case Etcd:
		args = c.etcdArguments()
	case APIServer:
		args = c.apiServerArguments()
	case ControllerManager:
		args = c.controllerManagerArguments()
	case Kwok:
		args = c.kwokArguments()
	case Scheduler, StandbyScheduler:
		args = c.schedulerArguments(component)
	case DefaultScheduler:
		args = c.defaultSchedulerArguments()
	}
	return append(args, c.config.ExtraArgs[component]...)
}

// local is HOST:PORT on the loopback interface.
func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func (c *Cluster) path(elements ...string) string {
	return filepath.Join(append([]string{c.config.Dir}, elements...)...)
}

func (c *Cluster) etcdArguments() []string {
	client := "https://" + local(c.config.port(Etcd))
	peer := "https://" + local(c.config.PortBase+etcdPeerOffset)
	return []string{
		"--name=retinue",
		"--data-dir=" + c.path("etcd"),
		"--listen-client-urls=" + client,
		"--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer,
		"--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=retinue=" + peer,
		"--cert-file=" + c.pki.certFile(servingLocalName),
		"--key-file=" + c.pki.keyFile(servingLocalName),
		"--trusted-ca-file=" + c.pki.certFile(authorityName),
		"--client-cert-auth=true",
		"--peer-cert-file=" + c.pki.certFile(servingLocalName),
		"--peer-key-file=" + c.pki.keyFile(servingLocalName),
		"--peer-trusted-ca-file=" + c.pki.certFile(authorityName),
		"--peer-client-cert-auth=true",
		// What was written survives a killed process without fsync; only a machine that stops would lose it.
		"--unsafe-no-fsync=true",
		"--quota-backend-bytes=4294967296",
	}
}

func (c *Cluster) apiServerArguments() []string {
	args := []string{
		"--etcd-servers=https://" + local(c.config.port(Etcd)),
		"--etcd-cafile=" + c.pki.certFile(authorityName),
		"--etcd-certfile=" + c.pki.certFile(etcdClientName),
		"--etcd-keyfile=" + c.pki.keyFile(etcdClientName),
		"--bind-address=" + c.config.Address,
		"--advertise-address=" + c.config.Address,
		"--secure-port=" + strconv.Itoa(c.config.port(APIServer)),
		"--tls-cert-file=" + c.pki.certFile(servingAPIName),
		"--tls-private-key-file=" + c.pki.keyFile(servingAPIName),
		"--client-ca-file=" + c.pki.certFile(authorityName),
		// Components read this, together with the client authority, from a ConfigMap, and complain when it is missing.
		"--requestheader-client-ca-file=" + c.pki.certFile(authorityName),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + c.pki.keyFile(serviceTokensName),
		"--service-account-signing-key-file=" + c.pki.keyFile(serviceTokensName),
		"--service-cluster-ip-range=" + c.config.ServiceCIDR,
		"--kubelet-client-certificate=" + c.pki.certFile(kubeletClientName),
		"--kubelet-client-key=" + c.pki.keyFile(kubeletClientName),
		"--kubelet-preferred-address-types=InternalIP",
		"--allow-privileged=true",
		// Deleting thousands of pods or leases at once should not be done one by one.
		"--delete-collection-workers=4",
	}
	if netip.MustParseAddr(c.config.Address).IsLoopback() {
		// A loopback address is refused as the endpoint of the service `kubernetes`.
		args = append(args, "--endpoint-reconciler-type=none")
	}
	if !c.config.runs(ControllerManager) {
		// Nobody would create default service accounts, or take the not-ready taint off a node.
		args = append(args, "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition")
	}
	return args
}

func (c *Cluster) controllerManagerArguments() []string {
	kubeconfig := c.kubeconfigFile(string(ControllerManager))
	return []string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(c.config.port(ControllerManager)),
		"--tls-cert-file=" + c.pki.certFile(servingLocalName),
		"--tls-private-key-file=" + c.pki.keyFile(servingLocalName),
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + c.pki.keyFile(serviceTokensName),
		"--root-ca-file=" + c.pki.certFile(authorityName),
		"--cluster-signing-cert-file=" + c.pki.certFile(authorityName),
		"--cluster-signing-key-file=" + c.pki.keyFile(authorityName),
		"--leader-elect=false",
		// It annotates every node again whenever their number passes 100, 500, 1000, …, for kubelets' caches of secrets.
		"--controllers=*,-ttl-controller",
		"--node-monitor-grace-period=" + (c.config.leaseDuration() + 10*time.Second).String(),
		// The same for new nodes: 5,000 at once may take longer than the standard minute to report, and calling
		// them unreachable in the meantime means two more requests for each.
		"--node-startup-grace-period=" + (c.config.leaseDuration() + 20*time.Second).String(),
		// A controller that takes the not-ready taint off 5,000 nodes must not do so at 20 a second.
		"--kube-api-qps=1000",
		"--kube-api-burst=2000",
		"--v=1",
	}
}

func (c *Cluster) kwokArguments() []string {
	return []string{
		"--kubeconfig=" + c.kubeconfigFile(string(Kwok)),
		"--config=" + c.kwokConfigFile(),
		"--manage-nodes-with-annotation-selector=" + fakeNodeAnnotation + "=" + fakeNodeValue,
		"--node-lease-duration-seconds=" + strconv.Itoa(int(c.config.leaseDuration().Seconds())),
		"--cidr=" + c.config.PodCIDR,
		"--node-ip=127.0.0.1",
		"--server-address=" + local(c.config.port(Kwok)),
		"--v=WARN", // at INFO it logs every patch
	}
}

func (c *Cluster) schedulerArguments(component Component) []string {
	kubeconfig := c.kubeconfigFile(string(Scheduler))
	return []string{
		"--config=" + c.schedulerConfigFile(),
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(c.config.port(component)),
		"--tls-cert-file=" + c.pki.certFile(servingLocalName),
		"--tls-private-key-file=" + c.pki.keyFile(servingLocalName),
		"--leader-elect=" + strconv.FormatBool(c.config.LeaderElection),
		"--feature-gates=NominatedNodeNameForExpectation=false,SchedulerPreQueueingHints=true", // as in manifests/base
		"--v=2",
	}
}

func (c *Cluster) defaultSchedulerArguments() []string {
	kubeconfig := c.kubeconfigFile(string(DefaultScheduler))
	return append([]string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(c.config.port(DefaultScheduler)),
		"--tls-cert-file=" + c.pki.certFile(servingLocalName),
		"--tls-private-key-file=" + c.pki.keyFile(servingLocalName),
		"--leader-elect=false",
		"--v=2",
	}, requestLimits...)
}

// requestLimits of the default scheduler are those of manifests/setup, so that the two can be compared.
var requestLimits = []string{"--kube-api-qps=1000", "--kube-api-burst=2000"}

// fingerprint changes when a restart would run something else: another binary, other arguments, other configuration.
func (c *Cluster) fingerprint(component Component) (string, error) {
	binary := c.binary(component)
	info, err := os.Stat(binary)
	if err != nil {
		return "", fmt.Errorf("cluster: %w", err)
	}
	hash := sha256.New()
	fmt.Fprintln(hash, binary, info.Size(), info.ModTime().UnixNano(), c.arguments(component))
	for _, file := range c.configFiles(component) {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("cluster: %w", err)
		}
		fmt.Fprintln(hash, len(content))
		hash.Write(content)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func (c *Cluster) binary(component Component) string {
	return filepath.Join(c.config.Binaries, binaries[component])
}

// configFiles are the files, besides credentials, that the component reads when it starts.
func (c *Cluster) configFiles(component Component) []string {
	switch {
	case component.isRetinue():
		return []string{c.schedulerConfigFile()}
	case component == Kwok:
		return []string{c.kwokConfigFile()}
	default:
		return nil
	}
}
