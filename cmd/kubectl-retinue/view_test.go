package main

import (
	"encoding/json"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/gang"
)

// TestTheExamplesOfThePageAreWhatIsPrinted runs every command of docs/kubectl.md and compares; with -update it writes the page anew.
func TestTheExamplesOfThePageAreWhatIsPrinted(t *testing.T) {
	const file = "../../docs/kubectl.md"
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	s := afternoon(t)
	s.schedules(0.1)
	ran := 0
	got := regexp.MustCompile("(?s)```console\n.*?```").ReplaceAllStringFunc(string(text), func(block string) string {
		var b strings.Builder
		b.WriteString("```console\n")
		for line := range strings.Lines(block) {
			command, isCommand := strings.CutPrefix(line, "$ kubectl retinue ")
			if !isCommand {
				continue
			}
			_, stdout, stderr := s.run(strings.Fields(command)...)
			b.WriteString(line + stdout + stderr)
			ran++
		}
		return b.String() + "```"
	})
	require.Greater(t, ran, 3)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
		return
	}
	require.Equal(t, string(text), got, "see -update")
}

// TestEveryOutput is what programs and wide terminals are given.
func TestEveryOutput(t *testing.T) {
	s := afternoon(t)
	for name, args := range map[string][]string{
		"queues-wide.txt":  {"queues", "-o", "wide"},
		"queues.csv":       {"queues", "-o", "csv", "--sort-by=-waiting"},
		"queues.json":      {"queues", "-o", "json"},
		"queues.yaml":      {"queues", "-o", "yaml", "--sort-by", "name"},
		"queues-names.txt": {"queues", "-o", "name"},
		"queue.json":       {"queue", "etl", "-o", "json"},
		"queue.yaml":       {"queue", "ml", "-o", "yaml"},
		"apps-wide.txt":    {"apps", "-A", "-o", "wide", "--no-headers"},
		"apps.csv":         {"apps", "-A", "-o", "csv", "--sort-by", "wait"},
		"apps.json":        {"apps", "-o", "json"},
		"apps.yaml":        {"apps", "-n", "web-prod", "-o", "yaml"},
		"apps-state.txt":   {"apps", "-A", "--state", "waiting", "-o", "csv", "--no-headers"},
		"apps-names.txt":   {"apps", "-A", "-o", "name"},
		"app.yaml":         {"app", "sessions-join", "-o", "yaml"},
		"app.json":         {"app", "clickstream", "-o", "json"},
		"why.json":         {"why", "clickstream", "-o", "json"},
		"gang.yaml":        {"gang", "clickstream-driver", "-o", "yaml"},
		"gang.json":        {"gang", "podgroup/render", "-n", "web-prod", "-o", "json"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := s.run(args...)
			require.Zero(t, code, stderr)
			require.Empty(t, stderr)
			golden(t, name, stdout)
			if strings.HasSuffix(name, ".json") {
				require.True(t, json.Valid([]byte(stdout)))
			}
		})
	}
}

// TestWhoMayReadOneNamespaceIsShownThat, and told what is missing.
func TestWhoMayReadOneNamespaceIsShownThat(t *testing.T) {
	s := afternoon(t).onlyNamespace("etl-prod")
	code, stdout, stderr := s.run("apps")
	require.Zero(t, code, stderr)
	golden(t, "namespace-apps.txt", stdout+stderr)
	code, stdout, stderr = s.run("app", "clickstream-driver")
	require.Zero(t, code, stderr)
	golden(t, "namespace-app.txt", stdout+stderr)
	code, stdout, stderr = s.run("queues")
	require.Zero(t, code, stderr)
	require.Empty(t, stdout)
	require.Equal(t, "no queues\nnote: you may not read Queues: no shares, limits and positions are known\n"+
		"note: you may not read namespace etl-prod: a Queue that selects it by its labels is not recognised\n"+
		"note: you may not read the pods of all namespaces: OLDEST is of namespace etl-prod alone\n", stderr)
	code, _, stderr = s.run("queue", "etl")
	require.Equal(t, exitFailed, code)
	require.Equal(t, "error: you may not read Queues: no shares, limits and positions are known\n", stderr)
	code, _, stderr = s.run("apps", "-A")
	require.Equal(t, exitFailed, code, "nothing at all can be shown")
	require.Equal(t, "error: reading pods: it is forbidden: /api/v1/pods\n", stderr)
}

// rounds lets a command that goes on wait for what each of these does.
func rounds(t *testing.T, does ...func()) {
	t.Helper()
	former := awaits
	t.Cleanup(func() { awaits = former })
	awaits = func() {
		if len(does) > 0 {
			next := does[0]
			does = does[1:]
			next()
		}
	}
}

const queueWeb = "/apis/retinue.dev/v1alpha1/queues/web"

// TestAWatchShowsWhatHasChanged, as soon as the API server says so, and nothing twice; what is read is read once.
//
// Seen failing when it looked every five seconds: nobody was told.
func TestAWatchShowsWhatHasChanged(t *testing.T) {
	s := afternoon(t)
	rounds(t, func() {
		s.objects[queueWeb]["status"].(map[string]any)["waiting"] = int64(2)
		s.tell("MODIFIED", queueWeb)
	}, func() {
		delete(s.objects, queueWeb)
		s.add("Queue", &v1alpha1.Queue{ObjectMeta: metav1.ObjectMeta{Name: "zoo", Generation: 1}})
		s.tell("ADDED", path.Dir(queueWeb)+"/zoo")
	}, s.hangUp)
	code, stdout, stderr := s.run("queues", "--watch", "--rounds", "4", "--interval", "1h")
	require.Zero(t, code, stderr)
	require.Empty(t, stderr)
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	require.Len(t, lines, 8, stdout)
	require.Regexp(t, `^web +Open .* 2 +2m00s +GangIncomplete$`, lines[6])
	require.Regexp(t, `^zoo +Open `, lines[7])
	require.Equal(t, 1, strings.Count(stdout, "QUEUE "))
	s.mu.Lock()
	defer s.mu.Unlock()
	listed := map[string]int{}
	for _, request := range s.seen {
		if !strings.Contains(request, "watch=") {
			listed[request]++
		}
	}
	require.Equal(t, 2, listed["GET "+path.Dir(queueWeb)+"?resourceVersion=0"], "once, and again when the watch had ended")
}

// TestWhoMayNotWatchIsShownWhatHasChangedLater.
func TestWhoMayNotWatchIsShownWhatHasChangedLater(t *testing.T) {
	s := afternoon(t)
	s.mayWatch = false
	rounds(t, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.objects[queueWeb]["status"].(map[string]any)["waiting"] = int64(2)
	})
	code, stdout, stderr := s.run("queues", "--watch", "--rounds", "3", "--interval", "1s")
	require.Zero(t, code, stderr)
	require.Contains(t, stderr, "note: you may not watch Queues: they are looked at every 1s\n")
	require.Regexp(t, `(?m)^web +Open .* 2 +2m00s +GangIncomplete$`, stdout)
}

// TestTopIsDrawnAnewWithEveryChange.
func TestTopIsDrawnAnewWithEveryChange(t *testing.T) {
	s := afternoon(t)
	const pod = "/api/v1/namespaces/adhoc/pods/giant-driver"
	rounds(t, func() { s.tell("DELETED", pod) })
	code, stdout, stderr := s.run("top", "--rounds", "2", "--interval", "1h")
	require.Zero(t, code, stderr)
	require.Equal(t, 1, strings.Count(stdout, "giant-driver"), "then it has gone")
	require.Equal(t, 2, strings.Count(stdout, "clickstream-driver"))
}

func TestWrongArgumentsOfListings(t *testing.T) {
	s := afternoon(t)
	for want, args := range map[string][]string{
		`--output="xml": want wide, json, yaml, name, csv`: {"queues", "-o", "xml"},
		`--output="csv": want json, yaml`:                  {"queue", "etl", "-o", "csv"},
		"name one queue, not 2":                            {"queue", "etl", "web"},
		`there is no queue "nowhere"`:                      {"queue", "nowhere"},
		`there is no application "nothing"`:                {"app", "nothing"},
		`no arguments are known, such as "etl"`:            {"queues", "etl"},
		"--interval=1ms: want at least 1s":                 {"queues", "-w", "--interval", "1ms"},
		`--namespace="A B": not the name of a namespace`:   {"apps", "-n", "A B"},
		`--sort-by="size": want one of name, parent, state, cpuUsed, cpuGuaranteed, cpuLimit, ` +
			`cpuBorrowed, memoryUsed, memoryGuaranteed, memoryLimit, memoryBorrowed, running, ` +
			`waiting, oldest, reason, weight`: {"queues", "--sort-by", "size"},
	} {
		code, stdout, stderr := s.run(args...)
		require.Equal(t, exitBadInput, code, want)
		require.Empty(t, stdout)
		require.Equal(t, "error: "+want+"\n", stderr)
	}
}

// TestNamesAreCompleted by what the cluster has.
func TestNamesAreCompleted(t *testing.T) {
	s := afternoon(t)
	for want, args := range map[string][]string{
		"adhoc\ndata\netl\nml\nweb\n:4\n":                                     {"queue", ""},
		"clickstream-driver\ndaily-orders-driver\nsessions-join-driver\n:4\n": {"app", ""},
		"wide\njson\nyaml\nname\ncsv\n:4\n":                                   {"apps", "-o", ""},
		"adhoc\netl-prod\nkube-system\nml-prod\nweb-prod\n:4\n":               {"apps", "-n", ""},
	} {
		kubeconfig := []string{"__complete", args[0], "--server", s.url, "--kubeconfig", write(t, "kubeconfig", "apiVersion: v1\nkind: Config\n")}
		if args[0] == "app" {
			kubeconfig = append(kubeconfig, "-n", "etl-prod")
		}
		code, stdout, stderr := call(append(kubeconfig, args[1:]...)...)
		require.Zero(t, code, stderr)
		require.Equal(t, want, stdout)
	}
}

// TestTheGangOfAPodGroup is shown by the group's name, and by that of one of its pods.
func TestTheGangOfAPodGroup(t *testing.T) {
	s := afternoon(t)
	const want = `ROLE   COUNT   MINIMUM   MAXIMUM     CPU   MEMORY   OTHER
pod    2       2         unlimited   2     4Gi      -
source: PodGroup render: 3 start together
warning: 2 pods are there, and 3 have to be before any starts
`
	for _, name := range []string{"podgroup/render", "podgroups.scheduling.x-k8s.io/render", "render-1", "pod/render-0"} {
		code, stdout, stderr := s.run("gang", name, "-n", "web-prod")
		require.Zero(t, code, stderr)
		require.Equal(t, want, stdout)
	}
}

// TestTheGangOfAPodGroupOfKubernetes is shown by its name, where no other PodGroup has it, by its full name, and by that of a pod.
//
// Seen failing when only PodGroups of the scheduler-plugins project were looked for.
func TestTheGangOfAPodGroupOfKubernetes(t *testing.T) {
	s := afternoon(t)
	name := "train"
	for group, minimum := range map[string]int32{name: 2, "render": 1} {
		object := &schedulingv1beta1.PodGroup{ObjectMeta: metav1.ObjectMeta{Namespace: "web-prod", Name: group}}
		object.Spec.SchedulingPolicy.Gang = &schedulingv1beta1.GangSchedulingPolicy{MinCount: minimum}
		s.add("NativePodGroup", object)
	}
	s.add("Pod", &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "web-prod", Name: "train-0", UID: "train-0"},
		Spec: v1.PodSpec{SchedulerName: "retinue", SchedulingGroup: &v1.PodSchedulingGroup{PodGroupName: &name}, Containers: []v1.Container{{Name: "main", Resources: v1.ResourceRequirements{Requests: amountsIn("cpu=2,memory=4Gi")}}}}})
	const want = `ROLE   COUNT   MINIMUM   MAXIMUM     CPU   MEMORY   OTHER
pod    1       1         unlimited   2     4Gi      -
source: PodGroup train of scheduling.k8s.io: 2 start together
warning: 1 pod is there, and 2 have to be before any starts
`
	for _, argument := range []string{"podgroup/train", "podgroup.scheduling.k8s.io/train", "train-0"} {
		code, stdout, stderr := s.run("gang", argument, "-n", "web-prod")
		require.Zero(t, code, stderr)
		require.Equal(t, want, stdout, argument)
	}
	for argument, want := range map[string]string{"podgroup/render": "source: PodGroup render: 3 start", "podgroups.scheduling.k8s.io/render": "source: PodGroup render of scheduling.k8s.io: 1 start"} {
		_, stdout, stderr := s.run("gang", argument, "-n", "web-prod")
		require.Contains(t, stdout, want, stderr)
	}
	code, stdout, stderr := s.run("apps", "-n", "web-prod", "--no-headers")
	require.Zero(t, code, stderr)
	require.Regexp(t, `(?m)^train +- +Waiting +0/2\(2\) +2 +4Gi `, stdout)
	code, stdout, _ = s.run("apps", "-n", "web-prod", "-o", "name")
	require.Zero(t, code)
	require.Equal(t, "podgroup.scheduling.x-k8s.io/render\npodgroup.scheduling.k8s.io/train\n", stdout)
	code, _, stderr = s.run("gang", "podgroup/nothing", "-n", "web-prod")
	require.Equal(t, exitFailed, code)
	require.Equal(t, "error: reading PodGroup nothing: the server could not find the requested resource\n", stderr)
}

func TestWhyAnApplicationWaits(t *testing.T) {
	for name, test := range map[string]struct {
		args    []string
		prepare func(*stage)
	}{
		"why-limit.txt":     {args: []string{"why", "clickstream"}},
		"why-never.txt":     {args: []string{"why", "giant-driver", "-n", "adhoc"}},
		"why-running.txt":   {args: []string{"why", "sessions-join"}},
		"why-group.txt":     {args: []string{"why", "render", "-n", "web-prod"}},
		"why-namespace.txt": {args: []string{"why", "clickstream"}, prepare: func(s *stage) { s.onlyNamespace("etl-prod") }},
		"why-drained.yaml": {args: []string{"why", "late", "-n", "ml-prod", "-o", "yaml"}, prepare: func(s *stage) {
			s.says(s.submitted("ml-prod", "late", "lea", 2, 2, 3), gang.QueueClosed, "queue ml is draining: no gang starts", 2.9)
		}},
		"why-nobody.txt": {args: []string{"why", "typo", "-n", "ml-prod"}, prepare: func(s *stage) { s.submitted("ml-prod", "typo", "lea", 2, 2, 3) }},
	} {
		t.Run(name, func(t *testing.T) {
			s := afternoon(t)
			if test.prepare != nil {
				test.prepare(s)
			}
			code, stdout, stderr := s.run(test.args...)
			require.Zero(t, code, stderr)
			golden(t, name, stdout+stderr)
		})
	}
}

// TestAQueueIsDrained and opened again, by one patch of one field.
func TestAQueueIsDrained(t *testing.T) {
	s := afternoon(t)
	for _, step := range []struct{ command, queue, want string }{
		{"drain", "etl", "queue etl is Draining, and was Open\n"},
		{"drain", "etl", "queue etl is Draining already\n"},
		{"stop", "data", "queue data is Stopped, and was Open\n"},
		{"open", "etl", "queue etl is Open, and was Draining\nqueue data above it is stopped, which counts for it\n"},
	} {
		code, stdout, stderr := s.run(step.command, step.queue)
		require.Zero(t, code, stderr)
		require.Equal(t, step.want, stdout)
	}
	const queues = "/apis/retinue.dev/v1alpha1/queues/"
	require.Equal(t, []string{queues + `etl {"spec":{"state":"Draining"}}`, queues + `data {"spec":{"state":"Stopped"}}`, queues + `etl {"spec":{"state":"Open"}}`}, s.patches)
	code, _, stderr := s.run("drain", "nowhere")
	require.Equal(t, exitFailed, code)
	require.Equal(t, "error: reading queue nowhere: the server could not find the requested resource\n", stderr)
	code, stdout, stderr := s.run("stop", "web", "--dry-run")
	require.Zero(t, code, stderr)
	require.Equal(t, "queue web would be Stopped, and is Open\n", stdout)
	require.Contains(t, s.seen[len(s.seen)-2], "dryRun=All")
}

func TestVersions(t *testing.T) {
	s := afternoon(t)
	code, stdout, stderr := s.run("version")
	require.Zero(t, code, stderr)
	require.Regexp(t, `^client: v\S+\nAPI server: v1\.37\.1\n$`, stdout)
	require.Equal(t, "note: the cluster has no Deployment retinue-system/retinue: the version of the scheduler is not known\n", stderr)
	for image, want := range map[string]string{
		"registry:5000/retinue/scheduler:v1.37.1-retinue.1":          "scheduler: v1.37.1-retinue.1\n",
		"registry/retinue/scheduler:v1.35.2-retinue.1@sha256:abcdef": "skew: ",
		"registry:5000/retinue/scheduler":                            "API server: v1.37.1\n",
	} {
		s.add("Deployment", schedulerOf(image))
		code, stdout, stderr := s.run("version")
		require.Zero(t, code, stderr)
		require.Contains(t, stdout, want)
	}
	for text, want := range map[*versions]string{
		{Client: "v1.37.1", Server: "v1.37.0", Scheduler: "v1.37.4"}:                     "",
		{Client: "v1.37.1-retinue.2", Server: "v1.38.0", Scheduler: "v1.37.4-retinue.1"}: "",
		{Client: "v0.0.0-master", Server: "v1.38.0", Scheduler: "v1.37.4"}:               "",
		{Client: "v1.36.1", Server: "v1.37.0", Scheduler: "v1.37.4"}:                     "this command is of v1.36.1 and the scheduler of v1.37.4: what the scheduler says may not be understood",
		{Client: "v1.37.1", Server: "v1.36.0", Scheduler: "v1.37.4"}:                     "the scheduler is of v1.37.4 and the API server of v1.36.0: Kubernetes supports a scheduler of the same minor version, or of the one before",
	} {
		require.Equal(t, want, text.skew())
	}
}

func TestTheCompletionOfKubectl(t *testing.T) {
	code, stdout, stderr := call("completion", "kubectl")
	require.Zero(t, code, stderr)
	require.Equal(t, "#!/bin/sh\nexec kubectl retinue __complete \"$@\"\n", stdout)
}
