package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// queuesAreChecked installs the definition of Queues as an administrator would, and shows the API server right ones and
// wrong ones.
func queuesAreChecked(t *testing.T, c *Cluster) {
	definition := filepath.Join(c.config.Manifests, "..", "crd")
	if _, err := c.Kubectl(t.Context(), "apply", "--validate=strict", "-k", definition); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Kubectl(t.Context(), "wait", "--for=condition=Established", "--timeout=60s", "crd/queues.retinue.dev"); err != nil {
		t.Fatal(err)
	}
	// What the structural schema or CEL cannot do is a condition of the definition, not an error.
	out, err := c.Kubectl(t.Context(), "get", "crd", "queues.retinue.dev", "-o", `jsonpath={range .status.conditions[*]}{.type}={.status} {.message}{"\n"}{end}`)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "NonStructuralSchema=True") {
		t.Errorf("the schema is not structural:\n%s", out)
	}

	const all = `{parent: team, namespaces: [etl-1], namespaceSelector: {matchLabels: {team: etl}}, guaranteed: {cpu: 1500m, memory: 2Gi}, limit: {cpu: 4, nvidia.com/gpu: 0},
		perNamespace: {guaranteed: {cpu: 1}, limit: {cpu: 2}, weight: 0, maxRunningGangs: 1, maxLeaderShare: 50}, weight: 0, maxRunningGangs: 0, maxLeaderShare: 20, order: Fair, priority: -5, state: Draining, users: {minimumShare: 25, limit: {cpu: 2}, maxRunningGangs: 3},
		reclaim: {enabled: true, after: 30s, grace: 1m30s, budget: 10, deadZone: 0, exempt: true, dryRun: true, protect: 10m, utilization: 80}, placement: SingleZone}`
	tests := map[string]struct {
		name, spec string
		want       []string // all of them stand in the refusal; none means that the object is accepted
	}{
		"nothing at all":                        {spec: `{}`},
		"every field":                           {spec: all},
		"as much guaranteed as allowed":         {spec: `{guaranteed: {cpu: 1500m}, limit: {cpu: "1.5"}}`},
		"a guarantee without a limit":           {spec: `{guaranteed: {cpu: 1}, limit: {memory: 1Gi}}`},
		"more guaranteed than allowed":          {spec: `{guaranteed: {cpu: 2, memory: 2Gi}, limit: {cpu: 1500m, memory: 2Gi}}`, want: []string{"spec.guaranteed", "at most the limit"}},
		"a negative guarantee":                  {spec: `{guaranteed: {cpu: -1}}`, want: []string{"spec.guaranteed", "must not be negative"}},
		"a negative limit":                      {spec: `{limit: {memory: "-1Gi"}}`, want: []string{"spec.limit", "must not be negative"}},
		"a negative limit of each user":         {spec: `{users: {limit: {cpu: -100m}}}`, want: []string{"spec.users.limit", "must not be negative"}},
		"an amount that is none":                {spec: `{limit: {cpu: much}}`, want: []string{"spec.limit.cpu", "much"}},
		"a template with more guaranteed":       {spec: `{perNamespace: {guaranteed: {cpu: 2}, limit: {cpu: 1}}}`, want: []string{"spec.perNamespace", "at most the limit"}},
		"a utilization beyond everything":       {spec: `{reclaim: {utilization: 101}}`, want: []string{"spec.reclaim.utilization"}},
		"its own parent":                        {name: "narcissus", spec: `{parent: narcissus}`, want: []string{"spec.parent", "cannot be its own parent"}},
		"a long name":                           {name: strings.Repeat("q", 64), spec: `{}`, want: []string{"at most 63 characters"}},
		"a negative weight":                     {spec: `{weight: -1}`, want: []string{"spec.weight", "greater than or equal to 0"}},
		"a negative number of gangs":            {spec: `{maxRunningGangs: -1}`, want: []string{"spec.maxRunningGangs"}},
		"no room for leaders":                   {spec: `{maxLeaderShare: 0}`, want: []string{"spec.maxLeaderShare"}},
		"more than everything for leaders":      {spec: `{maxLeaderShare: 101}`, want: []string{"spec.maxLeaderShare"}},
		"an order nobody knows":                 {spec: `{order: LIFO}`, want: []string{"spec.order", `"FIFO", "Fair"`}},
		"a state nobody knows":                  {spec: `{state: Shut}`, want: []string{"spec.state", `"Open", "Draining", "Stopped"`}},
		"a placement nobody knows":              {spec: `{placement: Tetris}`, want: []string{"spec.placement"}},
		"a negative wait":                       {spec: `{reclaim: {after: -1s}}`, want: []string{"spec.reclaim.after", "must not be negative"}},
		"a negative protection":                 {spec: `{reclaim: {protect: -1s}}`, want: []string{"spec.reclaim.protect", "must not be negative"}},
		"a wait without a unit":                 {spec: `{reclaim: {grace: "5"}}`, want: []string{"spec.reclaim.grace"}},
		"a field that does not exist":           {spec: `{garanteed: {cpu: 1}}`, want: []string{"garanteed"}},
		"the same namespace twice in one queue": {spec: `{namespaces: [a, a]}`, want: []string{"spec.namespaces", "Duplicate"}},
	}
	for title, test := range tests {
		t.Run(title, func(t *testing.T) {
			if test.name == "" {
				test.name = "etl"
			}
			file := filepath.Join(t.TempDir(), "queue.yaml")
			object := "apiVersion: retinue.dev/v1alpha1\nkind: Queue\nmetadata: {name: " + test.name + "}\nspec: " + test.spec + "\n"
			if err := os.WriteFile(file, []byte(object), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := c.Kubectl(t.Context(), "create", "--validate=strict", "--dry-run=server", "-f", file)
			if len(test.want) == 0 && err != nil {
				t.Errorf("it is refused: %v", err)
			}
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("the answer is %v, want one with %s", err, want)
				}
			}
		})
	}

	t.Run("the example of the docs", func(t *testing.T) {
		text, err := os.ReadFile(filepath.Join(c.config.Manifests, "..", "..", "docs", "queues.md"))
		if err != nil {
			t.Fatal(err)
		}
		_, example, found := strings.Cut(string(text), "```yaml\n")
		example, _, closed := strings.Cut(example, "```")
		if !found || !closed {
			t.Fatal("there is none")
		}
		file := filepath.Join(t.TempDir(), "queue.yaml")
		if err := os.WriteFile(file, []byte(example), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Kubectl(t.Context(), "create", "--validate=strict", "--dry-run=server", "-f", file); err != nil {
			t.Error(err)
		}
	})

	t.Run("what is left out has its default", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "queue.yaml")
		object := "apiVersion: retinue.dev/v1alpha1\nkind: Queue\nmetadata: {name: plain}\nspec: {reclaim: {}}\n"
		if err := os.WriteFile(file, []byte(object), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Kubectl(t.Context(), "create", "-f", file); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Kubectl(t.Context(), "patch", "queue", "plain", "--type=merge", "-p", `{"spec":{"parent":"team"}}`); err != nil {
			t.Error(err)
		}
		status := `{"status":{"running":3,"waiting":2,"topReason":"QueueLimit","columns":{"cpu":"380/400/800","memory":"1Ti/-/-","borrowed":"memory 1Ti"}}}`
		if _, err := c.Kubectl(t.Context(), "patch", "queue", "plain", "--subresource=status", "--type=merge", "-p", status); err != nil {
			t.Error(err)
		}
		out, err := c.Kubectl(t.Context(), "get", "queue", "plain", "-o",
			"jsonpath={.spec.parent} {.spec.weight} {.spec.order} {.spec.state} {.spec.priority} {.spec.reclaim}")
		if want := `team 1 FIFO Open 0 {"after":"15s","deadZone":10,"dryRun":false,"enabled":false,"exempt":false,"utilization":0}`; err != nil || string(out) != want {
			t.Errorf("it has %s (%v), want %s", out, err, want)
		}
		out, err = c.Kubectl(t.Context(), "get", "queues.retinue.dev")
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		if err != nil || len(lines) != 2 {
			t.Fatalf("kubectl get says %s (%v)", out, err)
		}
		if got, want := strings.Fields(lines[0]), "NAME PARENT STATE CPU MEMORY BORROWED RUNNING WAITING REASON AGE"; strings.Join(got, " ") != want {
			t.Errorf("the columns are %v, want %s", got, want)
		}
		if want := "plain team Open 380/400/800 1Ti/-/- memory 1Ti 3 2 QueueLimit"; !strings.HasPrefix(strings.Join(strings.Fields(lines[1]), " "), want) {
			t.Errorf("the row is %s, want %s", lines[1], want)
		}
	})
}
