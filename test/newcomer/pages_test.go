package newcomer

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/wait"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/test/cluster"
	"retinue.dev/retinue/test/remains"
)

// elsewhereOfPages are the commands of the runbook and the page about installing that are not run here, with the reason.
var elsewhereOfPages = map[string]string{
	"make image IMAGE=REGISTRY/retinue/scheduler:TAG": "make image-test builds the image",
	"make image":         "the same",
	"make image-test":    "needs root, Debian packages and minutes",
	"make image-deps":    "make image-test runs it",
	"make image LOCAL=1": "make image-test runs hack/image so",
	"make release":       "make release-test runs it",
	"make release-test":  "twelve programs",
	"make e2e":           "needs root, Debian packages and a Spark distribution",
	"docker push REGISTRY/retinue/scheduler:TAG":                   "needs a registry",
	"kubectl logs deployment/retinue -n retinue-system --tail=100": "the containers of fake nodes have no logs; make e2e runs it",
	"kubectl logs deployment/retinue -n retinue-system --previous": "the containers of fake nodes have no logs",
	"kubectl get capacitybuffers --all-namespaces":                 "no autoscaler is here that serves the kind",
}

// TestTheCommandsOfRunbookAndInstallationWork runs every command of docs/operations.md beside a scheduler that works, and then those of docs/install.md
// from nothing to nothing: what was installed goes without a rest, and what runs goes on. Nodes are fake: pods of the Deployment run no program.
func TestTheCommandsOfRunbookAndInstallationWork(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a cluster")
	}
	s := newStage(t)
	c := cluster.ForTest(t, cluster.Config{
		Dir: filepath.Join(s.dir, ".cache/cluster"), Binaries: filepath.Join(s.dir, "bin"), LeaderElection: true,
		Components: []cluster.Component{cluster.Etcd, cluster.APIServer, cluster.ControllerManager, cluster.Kwok, cluster.Scheduler, cluster.DefaultScheduler},
	})
	home := t.TempDir()
	s.env = append(s.env, "KUBECONFIG="+c.Kubeconfig(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	require.NoError(t, c.EnsureNodes(t.Context(), cluster.Nodes{Count: 20, CPU: "16", Memory: "64Gi", Zones: 3}))
	s.fragment()
	for _, command := range []string{"make bin/kubectl-retinue", "kubectl apply -k manifests/base", "kubectl apply -f manifests/examples/queues.yaml"} {
		s.run(passage{text: command})
	}
	s.page("operations.md", nil)

	s.run(passage{text: "kubectl delete -k manifests/base"})
	require.NoError(t, c.StopComponent(t.Context(), cluster.Scheduler))
	s.nothingIsLeft()
	s.page("install.md", map[string]func(){
		// The page says both ways, one after the other.
		"helm install retinue": func() {
			s.run(passage{text: "kubectl delete -k manifests/base"})
			s.nothingIsLeft()
		},
		"kubectl delete -k manifests/base": func() {
			s.nothingIsLeft()
			s.run(passage{text: "kubectl apply -k manifests/base"})
		},
	})
	s.nothingIsLeft()
	s.await("filled", 20)
}

// page runs the commands of a page of docs/ in their order. before: the beginning of a command -> what is done before it, or checked.
func (s *stage) page(name string, before map[string]func()) {
	s.t.Helper()
	commands := 0
	for _, p := range passages(s.t, filepath.Join("../../docs", name)) {
		if _, left := elsewhereOfPages[p.text]; left || p.language == yamlBlock {
			continue
		}
		for beginning, prepare := range before {
			if strings.HasPrefix(p.text, beginning) {
				prepare()
			}
		}
		s.run(p)
		commands++
	}
	require.Greater(s.t, commands, 8, "docs/%s has commands", name)
}

// nothingIsLeft waits until the cluster has no object that an installation brings.
func (s *stage) nothingIsLeft() {
	s.t.Helper()
	var left []string
	err := wait.PollUntilContextTimeout(s.t.Context(), look, patience, true, func(ctx context.Context) (bool, error) {
		var err error
		left, err = remains.Objects(ctx, s.cluster().RESTConfig())
		return err == nil && len(left) == 0, nil // an error is of a definition that is just going
	})
	require.NoError(s.t, err, "%v", left)
}

// TestTheRunbookHasACureForEveryReason: whoever reads a reason on a pod finds it there.
func TestTheRunbookHasACureForEveryReason(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	for _, row := range gang.Reasons {
		if row.Waits {
			require.Contains(t, string(page), "`"+string(row.Reason)+"`")
		}
	}
}

func TestReasonsAreGivenOnlyForCommandsThatThePagesHave(t *testing.T) {
	commands := append(passages(t, "../../docs/operations.md"), passages(t, "../../docs/install.md")...)
	for command, reason := range elsewhereOfPages {
		require.True(t, slices.ContainsFunc(commands, func(p passage) bool { return p.text == command }), command)
		require.NotEmpty(t, reason)
	}
}
