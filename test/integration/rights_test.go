package integration_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"retinue.dev/retinue/pkg/scaleup"
	"retinue.dev/retinue/test/audit"
	"retinue.dev/retinue/test/cluster"
	"retinue.dev/retinue/test/sparksim/chronicle"
)

const account = "system:serviceaccount:" + cluster.SchedulerNamespace + ":" + cluster.SchedulerServiceAccount

// audits are the logs of all API servers that this run has started, in a directory of their own.
var audits struct {
	dir  string
	logs []audit.Log
}

// audited lets the API server of a cluster record what the scheduler asks for.
func audited(config cluster.Config) (cluster.Config, error) {
	var err error
	if audits.dir == "" {
		if audits.dir, err = os.MkdirTemp("", "retinue-audit-"); err != nil {
			return config, err
		}
	}
	log, err := audit.New(filepath.Join(audits.dir, fmt.Sprint(len(audits.logs))), account)
	if err != nil {
		return config, err
	}
	audits.logs = append(audits.logs, log)
	config.ExtraArgs = maps.Clone(config.ExtraArgs)
	if config.ExtraArgs == nil {
		config.ExtraArgs = map[cluster.Component][]string{}
	}
	config.ExtraArgs[cluster.APIServer] = slices.Concat(config.ExtraArgs[cluster.APIServer], log.Arguments())
	return config, nil
}

// clusterForTest is cluster.ForTest, audited.
func clusterForTest(t *testing.T, config cluster.Config) *cluster.Cluster {
	t.Helper()
	config, err := audited(config)
	require.NoError(t, err)
	return cluster.ForTest(t, config)
}

// checkRights judges what the scheduler has asked for in this run, after its last test: nothing may have been refused, and, when all tests have
// run, each right of docs/security.md was used or stands there with the reason why not.
//
// Seen failing without the right to create events, and with rows that say "seen" of rights that are not used.
func checkRights(all bool) error {
	var record audit.Record
	for _, log := range audits.logs {
		if err := record.Read(log, ofOurRoles); err != nil {
			return err
		}
	}
	var errs []error
	for _, request := range record.Refused {
		errs = append(errs, fmt.Errorf("the API server has refused to the scheduler: %s", request))
	}
	if !all || len(audits.logs) == 0 {
		return errors.Join(errs...)
	}
	documented, err := documentedRights()
	if err != nil {
		return err
	}
	for right, used := range documented {
		request, seen := record.Used[right]
		switch {
		case used == "at times":
		case seen && used != "seen":
			errs = append(errs, fmt.Errorf("docs/security.md says that %s is for %q; it was used: %s", right, used, request))
		case !seen && used == "seen":
			errs = append(errs, fmt.Errorf("docs/security.md says that %s is used; it was not", right))
		}
	}
	for right, request := range record.Used {
		if _, found := documented[right]; !found {
			errs = append(errs, fmt.Errorf("docs/security.md does not have %s: %s", right, request))
		}
	}
	return errors.Join(errs...)
}

// ofOurRoles tells of the API server's reason for an answer whether it was one of the roles in manifests.
func ofOurRoles(reason string) bool {
	return strings.Contains(reason, `Role "retinue`) && strings.Contains(reason, "ServiceAccount")
}

// everything tells whether the command line leaves no test out.
func everything() bool {
	for _, name := range []string{"test.run", "test.skip"} {
		if flag.Lookup(name).Value.String() != "" {
			return false
		}
	}
	return !testing.Short()
}

var (
	row  = regexp.MustCompile(`^\| (.*) \| (.*) \| (.*) \| (.*) \|$`)
	word = regexp.MustCompile("`([^`]+)`")
)

// documentedRights is the table of docs/security.md: right -> its last column.
func documentedRights() (map[audit.Right]string, error) {
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		return nil, err
	}
	_, section, found := strings.Cut(string(page), "\n## What the scheduler may do\n")
	section, _, ends := strings.Cut(section, "\n## ")
	if !found || !ends {
		return nil, errors.New("docs/security.md has no section about what the scheduler may do")
	}
	rights := map[audit.Right]string{}
	for line := range strings.Lines(section) {
		cells := row.FindStringSubmatch(strings.TrimSpace(line))
		if cells == nil {
			continue
		}
		for _, verb := range word.FindAllStringSubmatch(cells[1], -1) {
			for _, resource := range word.FindAllStringSubmatch(cells[2], -1) {
				name, group, _ := strings.Cut(resource[1], ".")
				right := audit.Right{Verb: verb[1], Group: group, Resource: name}
				if _, twice := rights[right]; twice {
					return nil, fmt.Errorf("docs/security.md has %s twice", right)
				}
				rights[right] = cells[4]
			}
		}
	}
	return rights, nil
}

// grantedRights are those of all roles that a kustomization binds to the scheduler.
func grantedRights(t *testing.T, kustomization string) map[audit.Right]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "../../bin/kubectl", "kustomize", filepath.Join("../../manifests", kustomization)).Output()
	require.NoError(t, err)
	rules := map[string][]rbacv1.PolicyRule{} // kind and name
	var bound []string
	for document := range bytes.SplitSeq(out, []byte("\n---\n")) {
		var object struct {
			Kind     string
			Metadata struct{ Name, Namespace string }
			Rules    []rbacv1.PolicyRule
			RoleRef  rbacv1.RoleRef
		}
		require.NoError(t, yaml.Unmarshal(document, &object))
		switch object.Kind {
		case "ClusterRole", "Role":
			rules[object.Kind+" "+object.Metadata.Name] = object.Rules
		case "ClusterRoleBinding", "RoleBinding":
			require.NotContains(t, object.RoleRef.Name, "system:", "a role of another program, which changes with the cluster")
			bound = append(bound, object.RoleRef.Kind+" "+object.RoleRef.Name)
		}
	}
	granted := map[audit.Right]string{}
	for _, role := range bound {
		if role == "Role extension-apiserver-authentication-reader" {
			continue
		}
		require.Contains(t, rules, role)
		for _, rule := range rules[role] {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, verb := range rule.Verbs {
						granted[audit.Right{Verb: verb, Group: group, Resource: resource}] = role
					}
				}
			}
		}
	}
	return granted
}

// TestTheSchedulerUsesTheRightsItHas compares the manifests with docs/security.md; TestMain compares that with the audit log of the whole run.
func TestTheSchedulerUsesTheRightsItHas(t *testing.T) {
	needsCluster(t)
	documented, err := documentedRights()
	require.NoError(t, err)
	granted := grantedRights(t, "base")
	for right, role := range granted {
		require.NotContains(t, []string{right.Verb, right.Group, right.Resource}, "*", "%s of %s", right, role)
		require.Contains(t, documented, right, "docs/security.md lacks a right of %s", role)
	}
	for right := range documented {
		require.Contains(t, granted, right, "docs/security.md speaks of a right that no role in manifests/base grants")
	}
	for right, role := range grantedRights(t, "overlays/namespaced-config-maps") {
		if right.Resource == "configmaps" {
			require.Equal(t, "Role retinue-autoscaler", role, "of one name only")
		}
	}
}

// TestConfigMapsMayBeReadInSomeNamespacesOnly: where the right is bound, drivers are scheduled as ever; where it is missing, they wait and say so; and as soon
// as it is there they start.
func TestConfigMapsMayBeReadInSomeNamespacesOnly(t *testing.T) {
	needsCluster(t)
	// Not audited: here requests are refused.
	s := newStageOn(t, cluster.ForTest(t, cluster.Config{Manifests: "../../manifests/overlays/namespaced-config-maps", LeaderElection: true}), 2, 8)
	for _, namespace := range []string{"spark-jobs", "spark-later"} {
		s.namespace(namespace)
		require.True(t, eventually(func() bool { // submitting before is refused
			_, err := s.client.CoreV1().ServiceAccounts(namespace).Get(t.Context(), "default", metav1.GetOptions{})
			return err == nil
		}))
	}
	binding, err := exec.CommandContext(t.Context(), "../../bin/kubectl", "kustomize", "../../manifests/examples/namespaced-config-maps").Output()
	require.NoError(t, err)
	s.apply(string(binding))
	for _, namespace := range s.namespaces {
		application := sized(namespace, 1, 2, 1)
		application.Namespace = namespace
		s.submit(application)
	}
	runs := func(a chronicle.Application) bool { return a.Phase == "Running" && a.Slots == 2 }
	s.awaitOne("spark-jobs", "has a driver that runs", runs)
	text := s.awaitWaiting("spark-later", "GangIncomplete")
	require.Contains(t, text, `cannot get resource "configmaps"`)

	s.apply(strings.ReplaceAll(string(binding), "namespace: spark-jobs", "namespace: spark-later"))
	s.awaitOne("spark-later", "has a driver that runs", runs)
	t.Run("Cluster Autoscaler is found all the same", func(t *testing.T) { clusterAutoscalerIsFound(t, s) })
}

// clusterAutoscalerIsFound: the scheduler says on its Lease, which it goes on renewing, that there is no autoscaler, and then that there is one.
//
// Seen failing without the Role in kube-system: Off, as no autoscaler can be looked for.
func clusterAutoscalerIsFound(t *testing.T, s *stage) {
	var renewed time.Time
	says := func(want string) {
		t.Helper()
		said := ""
		require.True(t, eventually(func() bool {
			lease, err := s.client.CoordinationV1().Leases(cluster.SchedulerNamespace).Get(t.Context(), "retinue", metav1.GetOptions{})
			if err != nil {
				return false
			}
			said = lease.Annotations[scaleup.ChoiceAnnotation]
			again := lease.Spec.RenewTime.After(renewed)
			renewed = lease.Spec.RenewTime.Time
			return said == want && again
		}), "it says %q", said)
	}
	says("Off: no autoscaler has been found")
	says("Off: no autoscaler has been found") // when it was renewed
	_, err := s.client.CoreV1().ConfigMaps("kube-system").Create(t.Context(), &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "cluster-autoscaler-status"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	says("Placeholders: the cluster has ConfigMap kube-system/cluster-autoscaler-status")
}
