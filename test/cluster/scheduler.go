package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"
)

// The scheduler's account, as manifests/setup creates it.
const (
	SchedulerNamespace      = "retinue-system"
	SchedulerServiceAccount = "retinue"
)

// schedulerTokenLife outlasts any local cluster. In production the kubelet renews the token every hour.
const schedulerTokenLife = 30 * 24 * time.Hour

func (c *Cluster) schedulerConfigFile() string { return c.path("scheduler", "config.yaml") }
func (c *Cluster) schedulerTokenFile() string  { return c.path("scheduler", "token") }

// writeSchedulerFiles writes the kubeconfig, which points to the token, and the configuration, which points to the kubeconfig.
func (c *Cluster) writeSchedulerFiles() error {
	kubeconfig, err := c.writeKubeconfig(string(Scheduler), &clientcmdapi.AuthInfo{TokenFile: c.schedulerTokenFile()})
	if err != nil {
		return err
	}
	return writeSchedulerConfig(c.config.SchedulerConfig, c.schedulerConfigFile(), kubeconfig)
}

// requestSchedulerToken writes a new token of the scheduler's own service account.
func (c *Cluster) requestSchedulerToken(ctx context.Context) error {
	seconds := int64(schedulerTokenLife.Seconds())
	token, err := c.client.CoreV1().ServiceAccounts(SchedulerNamespace).CreateToken(ctx, SchedulerServiceAccount,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("cluster: token of service account %s/%s: %w", SchedulerNamespace, SchedulerServiceAccount, err)
	}
	if err := os.WriteFile(c.schedulerTokenFile(), []byte(token.Status.Token), 0o600); err != nil {
		return fmt.Errorf("cluster: scheduler: %w", err)
	}
	return nil
}

// writeSchedulerConfig copies a KubeSchedulerConfiguration and sets clientConnection.kubeconfig. There is no other way
// to give it: kube-scheduler ignores --kubeconfig next to --config, and without both looks for a pod's environment.
func writeSchedulerConfig(from, to, kubeconfig string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("cluster: scheduler configuration: %w", err)
	}
	var document map[string]any
	if err := yaml.Unmarshal(content, &document); err != nil {
		return fmt.Errorf("cluster: scheduler configuration %s: %w", from, err)
	}
	if document == nil {
		return fmt.Errorf("cluster: scheduler configuration %s is empty", from)
	}
	if document["clientConnection"] == nil {
		document["clientConnection"] = map[string]any{}
	}
	connection, ok := document["clientConnection"].(map[string]any)
	if !ok {
		return fmt.Errorf("cluster: scheduler configuration %s: clientConnection %v is not an object", from, document["clientConnection"])
	}
	connection["kubeconfig"] = kubeconfig
	if content, err = yaml.Marshal(document); err != nil {
		return fmt.Errorf("cluster: scheduler configuration: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fmt.Errorf("cluster: scheduler configuration: %w", err)
	}
	if err := os.WriteFile(to, content, 0o644); err != nil {
		return fmt.Errorf("cluster: scheduler configuration: %w", err)
	}
	return nil
}
