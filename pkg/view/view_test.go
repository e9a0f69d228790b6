package view

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

var noon = time.Date(2026, time.November, 29, 12, 0, 0, 0, time.UTC)

func TestTextIsShort(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", -time.Second: "0s", 59 * time.Second: "59s", 252 * time.Second: "4m12s", 62 * time.Minute: "1h02m", 76 * time.Hour: "3d4h"} {
		require.Equal(t, want, Age(d))
	}
	for text, want := range map[string]string{"cpu 380": "380", "cpu 2500m": "2.5", "cpu 1m": "0", "memory 1408Mi": "1.4Gi", "memory 9011Mi": "8.8Gi", "memory 37452Mi": "37Gi", "memory 1536Gi": "1.5Ti", "memory 999": "999", "nvidia.com/gpu 4": "4"} {
		name, amount, _ := strings.Cut(text, " ")
		require.Equal(t, want, Amount(v1.ResourceName(name), apiresource.MustParse(amount)), text)
	}
}

// TestNothingOfAPodMovesATerminal. Seen failing when texts were shown as they are.
func TestNothingOfAPodMovesATerminal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := Clean(rapid.String().Draw(t, "text"))
		for _, r := range text {
			require.True(t, r >= ' ' && (r < 0x7f || r > 0x9f), "%q", text)
		}
	})
	require.Equal(t, "a·[31mred b", Clean("a\x1b[31mred\n\tb"))
	require.Less(t, len(Clean(strings.Repeat("x", 1<<20))), maxTextBytes+10)
}

type item struct {
	name string
	n    int64
	at   any
}

var items = Table[item]{
	Columns: []Column[item]{
		{Name: "NAME", Text: func(i item) string { return i.name }, Tone: func(i item) Tone { return map[bool]Tone{true: Bad}[i.n > 1] }},
		{Name: "N", Wide: true, Text: func(i item) string { return fmt.Sprint(i.n) }},
	},
	Fields: []Field[item]{{"name", func(i item) any { return i.name }}, {"n", func(i item) any { return i.n }}, {"at", func(i item) any { return i.at }}},
	Name:   func(i item) string { return "item/" + i.name },
}

func TestTables(t *testing.T) {
	list := []item{{"long-name", 2, nil}, {"=1+1", 1, 3 * time.Second}, {"é", 3, time.Second}}
	var out bytes.Buffer
	require.NoError(t, items.Write(&out, list, Style{Wide: true}))
	require.Equal(t, "NAME        N\nlong-name   2\n=1+1        1\né           3\n", out.String())
	out.Reset()
	require.NoError(t, items.Write(&out, list, Style{NoHeaders: true, Colour: true}))
	require.Equal(t, "\x1b[31mlong-name\x1b[0m\n=1+1\n\x1b[31mé\x1b[0m\n", out.String())
	out.Reset()
	require.NoError(t, items.WriteCSV(&out, list, Style{}))
	require.Equal(t, "name,n,at\nlong-name,2,\n'=1+1,1,3\né,3,1\n", out.String(), "no cell is a formula")
	for by, want := range map[string]string{"n": "=1+1 long-name é", "-N": "é long-name =1+1", "at": "é =1+1 long-name", "-at": "=1+1 é long-name", "name": "=1+1 long-name é"} {
		require.NoError(t, items.Sort(list, by))
		var names []string
		for _, i := range list {
			names = append(names, i.name)
		}
		require.Equal(t, want, strings.Join(names, " "), by)
	}
	require.EqualError(t, items.Sort(list, "x"), "want one of name, n, at")
}

// queue is one that the scheduler has seen; amounts are cores.
func queue(name, parent string, guaranteed, used int64) *v1alpha1.Queue {
	list := func(n int64) v1.ResourceList {
		return v1.ResourceList{v1.ResourceCPU: *apiresource.NewQuantity(n, apiresource.DecimalSI)}
	}
	q := &v1alpha1.Queue{ObjectMeta: metav1.ObjectMeta{Name: name}}
	q.Spec.Parent = parent
	q.Status = v1alpha1.QueueStatus{ObservedGeneration: 1, Guaranteed: list(guaranteed), Used: list(used), Borrowed: v1.ResourceList{}}
	if used > guaranteed {
		q.Status.Borrowed = list(used - guaranteed)
	}
	return q
}

func TestWhatIsLent(t *testing.T) {
	for name, test := range map[string]struct {
		queues []*v1alpha1.Queue
		want   map[string]string
	}{
		"all that is borrowed is of the one that has something idle": {
			[]*v1alpha1.Queue{queue("p", "", 60, 60), queue("a", "p", 40, 20), queue("b", "p", 20, 40)}, map[string]string{"a": "cpu 20"}},
		"some of it comes from outside": {
			[]*v1alpha1.Queue{queue("p", "", 60, 70), queue("a", "p", 40, 25), queue("b", "p", 20, 45)}, map[string]string{"a": "cpu 15"}},
		"some of it may be what the parent has beyond its children": {
			[]*v1alpha1.Queue{queue("p", "", 80, 70), queue("a", "p", 40, 25), queue("b", "p", 20, 45)}, map[string]string{"a": "cpu 5–15"}},
		"of two nobody knows who": {
			[]*v1alpha1.Queue{queue("p", "", 60, 60), queue("a", "p", 20, 10), queue("b", "p", 20, 10), queue("c", "p", 20, 30)}, map[string]string{"a": "cpu 0–10", "b": "cpu 0–10"}},
		"at the top nobody knows what comes from outside": {
			[]*v1alpha1.Queue{queue("a", "", 20, 10), queue("b", "", 20, 25)}, map[string]string{"a": "cpu 0–5"}},
		"nothing is lent where nobody borrows": {[]*v1alpha1.Queue{queue("a", "", 20, 10), queue("b", "", 20, 20)}, map[string]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := map[string]string{}
			for _, q := range Queues(Objects{Now: noon, Queues: test.queues}) {
				if len(q.Lent) > 0 {
					got[q.Name] = loans(q.Lent)
				}
			}
			require.Equal(t, test.want, got)
		})
	}
}

// TestAnyParentsMakeATree: all queues are in it once, each below its parent, whoever calls whom his parent.
func TestAnyParentsMakeATree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b", "c", "d", "e"}
		var queues []*v1alpha1.Queue
		for _, name := range names {
			queues = append(queues, queue(name, rapid.SampledFrom(append(names, "", "nobody")).Draw(t, "parent"), 1, 1))
		}
		seen := map[string]int{}
		tree := Queues(Objects{Now: noon, Queues: queues})
		for _, q := range tree {
			if q.Parent != "" {
				depth, there := seen[q.Parent]
				require.True(t, there)
				require.Equal(t, depth+1, q.Depth)
			}
			seen[q.Name] = q.Depth
		}
		require.Len(t, tree, len(names))
		require.Len(t, seen, len(names))
	})
}

func TestAQueueIsAsClosedAsThoseAboveIt(t *testing.T) {
	a, b, c := queue("a", "", 1, 0), queue("b", "a", 1, 0), queue("c", "b", 1, 0)
	a.Spec.State, c.Spec.State = v1alpha1.Stopped, v1alpha1.Draining
	for _, q := range Queues(Objects{Now: noon, Queues: []*v1alpha1.Queue{a, b, c}}) {
		require.Equal(t, "Stopped", q.State)
		require.Equal(t, map[string]string{"a": "", "b": "a", "c": "a"}[q.Name], q.ClosedBy)
	}
}

// member is a pod of a gang without a leader, of which two start together.
func member(name string, phase v1.PodPhase, node string) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(noon.Add(-time.Minute)),
		Labels: map[string]string{spark.LabelGang: "g"}, Annotations: map[string]string{spark.AnnotationWorkers: "2"}},
		Spec: v1.PodSpec{NodeName: node}, Status: v1.PodStatus{Phase: phase}}
}

func TestStatesOfAGangWithoutALeader(t *testing.T) {
	for want, pods := range map[State][]*v1.Pod{
		Waiting:  {member("a", v1.PodPending, ""), member("b", v1.PodPending, "node")},
		Starting: {member("a", v1.PodPending, "node"), member("b", v1.PodPending, "node")},
		Running:  {member("a", v1.PodRunning, "node"), member("b", v1.PodPending, "node"), member("c", v1.PodPending, "")},
		Finished: {member("a", v1.PodSucceeded, "node"), member("b", v1.PodFailed, "node")},
		Failed:   {member("a", v1.PodFailed, "node"), member("b", v1.PodFailed, "node")},
	} {
		apps := Apps(Objects{Now: noon, Pods: pods})
		require.Len(t, apps, 1)
		require.Equal(t, want, apps[0].State)
		require.Equal(t, 2, *apps[0].Workers.Wanted)
	}
}

func TestFindingAnApplication(t *testing.T) {
	driver := func(name, app, id string, phase v1.PodPhase) *v1.Pod {
		return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name), Labels: map[string]string{spark.LabelRole: spark.RoleDriver, spark.LabelAppName: app, spark.LabelApp: id}},
			Spec: v1.PodSpec{NodeName: "node"}, Status: v1.PodStatus{Phase: phase}}
	}
	apps := Apps(Objects{Now: noon, Pods: []*v1.Pod{driver("a1", "a", "id1", v1.PodSucceeded), driver("a2", "a", "id2", v1.PodRunning), driver("b1", "b", "id3", v1.PodRunning), driver("b2", "b", "id4", v1.PodRunning)}})
	for name, want := range map[string]string{"a1": "a1", "a": "a2", "id1": "a1"} {
		app, err := Find(apps, name)
		require.NoError(t, err)
		require.Equal(t, want, app.Name)
	}
	_, err := Find(apps, "b")
	require.EqualError(t, err, `2 applications are called "b": name the driver of one, such as b1, b2`)
	_, err = Find(apps, "c")
	require.EqualError(t, err, `there is no application "c"`)
}

// TestWhatNoDriverWouldWriteIsNoReservation: whoever may patch a driver can write anything there, and is shown that it counts for nothing.
func TestWhatNoDriverWouldWriteIsNoReservation(t *testing.T) {
	for _, text := range []string{"", "[]", "gzip:x", `{"roles":[{"name":"executor","count":3,"requests":{"cpu":"1e999999999"}}]}`, strings.Repeat("[", 100_000)} {
		driver := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "d", UID: "d", Labels: map[string]string{spark.LabelRole: spark.RoleDriver, spark.LabelApp: "id"},
			Annotations: map[string]string{"retinue.dev/reservation": text}}, Spec: v1.PodSpec{NodeName: "node"}, Status: v1.PodStatus{Phase: v1.PodRunning}}
		apps := Apps(Objects{Now: noon, Pods: []*v1.Pod{driver}})
		require.Nil(t, apps[0].Workers.Wanted)
		require.Zero(t, apps[0].Workers.Slots)
	}
	driver := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "d", UID: "d", Labels: map[string]string{spark.LabelRole: spark.RoleDriver, spark.LabelApp: "id"},
		Annotations: map[string]string{"retinue.dev/reservation": `{"roles":[],"slots":[{"role":7,"node":"n","count":-3}]}`}}, Spec: v1.PodSpec{NodeName: "node"}}
	require.NotPanics(t, func() {
		NewCluster(Objects{Now: noon, Pods: []*v1.Pod{driver}, Nodes: []*v1.Node{{}}}, true)
		NewDetail(Apps(Objects{Now: noon, Pods: []*v1.Pod{driver}})[0], Objects{}, nil)
	})
}

// TestEveryReasonToWaitHasAdvice.
func TestEveryReasonToWaitHasAdvice(t *testing.T) {
	for _, trait := range gang.Reasons {
		require.Equal(t, trait.Waits, len(advice[trait.Reason]) > 0, trait.Reason)
	}
}

// TestTheLargestThatFits is the same as by trying all counts.
func TestTheLargestThatFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var nodes []*v1.Node
		for i := range rapid.IntRange(1, 4).Draw(t, "nodes") {
			cpu := apiresource.NewQuantity(rapid.Int64Range(1, 8).Draw(t, "cpu"), apiresource.DecimalSI)
			nodes = append(nodes, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("n", i)}, Status: v1.NodeStatus{Allocatable: v1.ResourceList{v1.ResourceCPU: *cpu, v1.ResourcePods: apiresource.MustParse("110")}}})
		}
		pod := func(cpu int64) *v1.Pod {
			return &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: *apiresource.NewQuantity(cpu, apiresource.DecimalSI)}}}}}}
		}
		worker := pod(rapid.Int64Range(1, 4).Draw(t, "worker"))
		limited := queue("q", "", 1, 0)
		limited.Spec.Namespaces = []string{"ns"}
		limited.Spec.Limit = v1alpha1.Amounts{v1.ResourceCPU: {Quantity: *apiresource.NewQuantity(rapid.Int64Range(1, 30).Draw(t, "limit"), apiresource.DecimalSI)}}
		q := Question{Namespace: "ns", Leader: pod(1), Definition: gang.Definition{Roles: []gang.Role{{Name: "executor", Count: 12, Pod: worker, Requests: resource.OfPod(worker)}}}}
		c := NewCluster(Objects{Now: noon, Queues: []*v1alpha1.Queue{limited}, Nodes: nodes}, true)
		want := -1
		for n := range q.Roles[0].Count {
			less := q
			less.Roles = []gang.Role{q.Roles[0]}
			less.Roles[0].Count = n
			if c.Assess(less).Result == Fits {
				want = n
			}
		}
		require.Equal(t, want, c.Largest(q))
	})
}

func TestWordsThatAreNearlyTheSame(t *testing.T) {
	for words, want := range map[[2]string]int{{"retinue", "retinue"}: 0, {"retinu", "retinue"}: 1, {"retiune", "retinue"}: 2, {"", "abc"}: 3, {"volcano", "retinue"}: 7} {
		require.Equal(t, want, distance(words[0], words[1]))
		require.Equal(t, want, distance(words[1], words[0]))
	}
}
