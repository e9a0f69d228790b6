package integration_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/test/cluster"
	"retinue.dev/retinue/test/sparksim"
)

// asUser is a namespace with an account, which may do no more than the given rules say, and its kubeconfig.
func asUser(t *testing.T, c *cluster.Cluster, namespace string, rules ...rbacv1.PolicyRule) (kubeconfig string) {
	t.Helper()
	ctx, client := t.Context(), c.Client()
	_, err := client.CoreV1().Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	require.NoError(t, err)
	accounts := client.CoreV1().ServiceAccounts(namespace)
	for _, name := range []string{"default", "reader"} { // where no controller runs that would make the first
		if _, err = accounts.Create(ctx, &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
			require.NoError(t, err)
		}
	}
	cluster.Grant(t, c, namespace, "reader", rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: "reader"}, rules...)
	token, err := accounts.CreateToken(ctx, "reader", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	require.NoError(t, err)

	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: c.RESTConfig().Host, CertificateAuthority: c.AuthorityFile()}
	config.AuthInfos["reader"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "reader", Namespace: namespace}
	config.CurrentContext = "test"
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, clientcmd.WriteToFile(*config, kubeconfig))
	return kubeconfig
}

// newKubectl builds the plugin; the result runs `kubectl retinue`, as kubectl itself finds it, with a kubeconfig.
func newKubectl(t *testing.T, c *cluster.Cluster) func(kubeconfig string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	binaries, err := filepath.Abs(c.Config().Binaries)
	require.NoError(t, err)
	dir := t.TempDir()
	built, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "retinue.dev/retinue/cmd/kubectl-retinue").CombinedOutput()
	require.NoError(t, err, "%s", built)
	return func(kubeconfig string, args ...string) (int, string, string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), filepath.Join(binaries, "kubectl"), append([]string{"retinue"}, args...)...)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+dir, "KUBECONFIG="+kubeconfig)
		var out, complaint bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &complaint
		err := cmd.Run()
		if exit := (&exec.ExitError{}); errors.As(err, &exit) {
			return exit.ExitCode(), out.String(), complaint.String()
		}
		require.NoError(t, err)
		return 0, out.String(), complaint.String()
	}
}

// Whoever may get pods and ConfigMaps by name, and nothing else, is shown what the scheduler infers.
func TestKubectlShowsAGangToWhoMayOnlyGet(t *testing.T) {
	needsCluster(t)
	c := cluster.ForTest(t, cluster.Config{Components: []cluster.Component{cluster.Etcd, cluster.APIServer}})
	run := newKubectl(t, c)
	get := func(resource string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{resource}, Verbs: []string{"get"}}
	}
	for name, test := range map[string]struct {
		rules              []rbacv1.PolicyRule
		code               int
		wantOut, wantError string // DRIVER is the name of the driver pod; the error is searched for
	}{
		"both": {rules: []rbacv1.PolicyRule{get("pods"), get("configmaps")}, wantOut: `ROLE       COUNT   MINIMUM   MAXIMUM   CPU     MEMORY   OTHER
driver     1       1         1         1       1408Mi   -
executor   3       3         3         2500m   4505Mi   nvidia.com/gpu=1
executor constraints: {"tolerations":[{"key":"dedicated","operator":"Exists"}]}
source: spark.properties
spark: version 4.3.0, language java
warning: what LimitRanges and ResourceQuotas will refuse is not known: limitranges is forbidden: User "system:serviceaccount:both:reader" cannot list resource "limitranges" in API group "" in the namespace "both"
`},
		"pods-only": {rules: []rbacv1.PolicyRule{get("pods")}, code: 1, wantError: `error: reading what driver DRIVER mounts: configmaps "`},
		"nothing":   {rules: []rbacv1.PolicyRule{get("secrets")}, code: 1, wantError: `error: reading the driver: pods "DRIVER" is forbidden: User `},
	} {
		t.Run(name, func(t *testing.T) {
			kubeconfig := asUser(t, c, name, test.rules...)
			driver, err := sparksim.Submitter{Client: c.Client(), Clock: clock.RealClock{}}.Submit(t.Context(), sparksim.Application{
				Name: "shown", Namespace: name,
				Properties: map[string]string{
					"spark.kubernetes.scheduler.name": "retinue", "spark.executor.instances": "3", "spark.executor.memory": "4g", "spark.executor.cores": "2",
					"spark.executor.resource.gpu.amount": "1", "spark.executor.resource.gpu.vendor": "nvidia.com", "spark.authenticate.secret": "hunter2",
				},
				Template: "spec: {tolerations: [{key: dedicated, operator: Exists}], containers: [{name: main}, {name: side, image: side, resources: {requests: {cpu: 500m}}}]}",
			})
			require.NoError(t, err)
			code, out, complaint := run(kubeconfig, "gang", driver.Name, "-n", name)
			named := func(text string) string {
				return strings.ReplaceAll(text, "DRIVER", driver.Name)
			}
			require.Equal(t, test.code, code, complaint)
			require.Equal(t, test.wantOut, out)
			if test.wantError == "" {
				require.Empty(t, complaint)
			} else {
				require.Contains(t, complaint, named(test.wantError))
				require.Equal(t, 1, strings.Count(complaint, "\n"), "one line: %s", complaint)
			}
			require.NotContains(t, out+complaint, "hunter2")
		})
	}
}
