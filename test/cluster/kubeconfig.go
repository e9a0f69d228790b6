package cluster

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Kubeconfig is the file of the administrator. It holds its certificates, so it may be copied anywhere.
func (c *Cluster) Kubeconfig() string { return c.kubeconfigFile(adminName) }

// adminName is the administrator's user name and the name of its files.
const adminName = "admin"

// UserKubeconfig writes a kubeconfig file for any user of the cluster and returns its path, for example the kubelet
// of node a: UserKubeconfig("kubelet-a", "system:node:a", "system:nodes"). name must be fit for a file name.
func (c *Cluster) UserKubeconfig(name, user string, groups ...string) (string, error) {
	if err := c.pki.client(name, user, groups...); err != nil {
		return "", fmt.Errorf("cluster: kubeconfig %s: %w", name, err)
	}
	cert, err := os.ReadFile(c.pki.certFile(name))
	if err != nil {
		return "", fmt.Errorf("cluster: kubeconfig %s: %w", name, err)
	}
	key, err := os.ReadFile(c.pki.keyFile(name))
	if err != nil {
		return "", fmt.Errorf("cluster: kubeconfig %s: %w", name, err)
	}
	return c.writeKubeconfig(name, &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key})
}

func (c *Cluster) kubeconfigFile(name string) string {
	return filepath.Join(c.config.Dir, "kubeconfigs", name+".kubeconfig")
}

func (c *Cluster) writeKubeconfig(name string, user *clientcmdapi.AuthInfo) (string, error) {
	authority, err := os.ReadFile(c.pki.certFile(authorityName))
	if err != nil {
		return "", fmt.Errorf("cluster: kubeconfig %s: %w", name, err)
	}
	const clusterName = "retinue"
	kubeconfig := clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{
			clusterName: {Server: c.Server(), CertificateAuthorityData: authority},
		},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: user},
		Contexts:       map[string]*clientcmdapi.Context{clusterName: {Cluster: clusterName, AuthInfo: name}},
		CurrentContext: clusterName,
	}
	path := c.kubeconfigFile(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("cluster: kubeconfig %s: %w", name, err)
	}
	if err := clientcmd.WriteToFile(kubeconfig, path); err != nil {
		return "", fmt.Errorf("cluster: kubeconfig %s: %w", name, err)
	}
	return path, nil
}

// Server is the URL of kube-apiserver.
func (c *Cluster) Server() string {
	return "https://" + net.JoinHostPort(c.config.Address, strconv.Itoa(c.config.port(APIServer)))
}
