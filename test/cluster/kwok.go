package cluster

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FinishAnnotation on a Running pod of a fake node tells it to end, with the value Succeeded or Failed:
//
//	kubectl annotate pod NAME fakenode.retinue.dev/finish=Succeeded
const FinishAnnotation = "fakenode.retinue.dev/finish"

// The annotation by which kwok knows its nodes.
const (
	fakeNodeAnnotation = "kwok.x-k8s.io/node"
	fakeNodeValue      = "fake"
)

// kwokStandardStages is kwok's own set of stages; `make binaries` takes it from the pinned module.
const kwokStandardStages = "kwok-stages.yaml"

//go:embed kwok/config.yaml
var kwokConfig string

//go:embed kwok/rbac.yaml
var kwokRBAC string

func (c *Cluster) kwokConfigFile() string { return c.path("kwok", "config.yaml") }
func (c *Cluster) kwokRBACFile() string   { return c.path("kwok", "rbac.yaml") }

// writeKwokFiles writes kwok's configuration, its permissions and its kubeconfig.
func (c *Cluster) writeKwokFiles() error {
	standard, err := os.ReadFile(filepath.Join(c.config.Binaries, kwokStandardStages))
	if err != nil {
		return fmt.Errorf("cluster: kwok: %w", err)
	}
	if err := os.MkdirAll(c.path("kwok"), 0o755); err != nil {
		return fmt.Errorf("cluster: kwok: %w", err)
	}
	stages := strings.TrimSuffix(kwokConfig, "\n") + "\n---\n" + string(standard)
	if err := os.WriteFile(c.kwokConfigFile(), []byte(stages), 0o644); err != nil {
		return fmt.Errorf("cluster: kwok: %w", err)
	}
	if err := os.WriteFile(c.kwokRBACFile(), []byte(kwokRBAC), 0o644); err != nil {
		return fmt.Errorf("cluster: kwok: %w", err)
	}
	_, err = c.UserKubeconfig(string(Kwok), kwokUser)
	return err
}

// permitKwok gives kwok its permissions and takes away what a killed kwok left behind.
func (c *Cluster) permitKwok(ctx context.Context) error {
	if _, err := c.Kubectl(ctx, "apply", "-f", c.kwokRBACFile()); err != nil {
		return err
	}
	return c.forgetLeases(ctx)
}

// kwokUser is the user kwok/rbac.yaml gives its permissions to.
const kwokUser = "kwok"

// forgetLeases deletes the leases of nodes. A new kwok touches no node whose lease another one holds, and with long
// leases the dead one would keep them for minutes. A kubelet makes its own again with the next heartbeat.
func (c *Cluster) forgetLeases(ctx context.Context) error {
	leases := c.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	if err := leases.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		return fmt.Errorf("cluster: kwok: delete the node leases of an earlier one: %w", err)
	}
	return nil
}
