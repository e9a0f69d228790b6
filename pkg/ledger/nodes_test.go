package ledger

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/gang"

	"retinue.dev/retinue/pkg/placement"
)

// A kubelet reports every few seconds. Only what placement looks at is a change, and may wake those that never fitted.
func TestWhatChangesANode(t *testing.T) {
	tests := map[string]struct {
		edit func(*v1.Node)
		want bool
	}{
		"nothing":              {func(*v1.Node) {}, false},
		"a heartbeat":          {func(n *v1.Node) { n.Status.Conditions = []v1.NodeCondition{{Type: v1.NodeReady}} }, false},
		"an image":             {func(n *v1.Node) { n.Status.Images = []v1.ContainerImage{{SizeBytes: 1}} }, false},
		"an annotation":        {func(n *v1.Node) { n.Annotations = map[string]string{"a": "b"} }, false},
		"the version":          {func(n *v1.Node) { n.ResourceVersion = "2" }, false},
		"capacity":             {func(n *v1.Node) { n.Status.Capacity = v1.ResourceList{"gpu": apiresource.MustParse("1")} }, false},
		"the same in words":    {func(n *v1.Node) { n.Status.Allocatable[v1.ResourceCPU] = apiresource.MustParse("4000m") }, false},
		"a cordon":             {func(n *v1.Node) { n.Spec.Unschedulable = true }, true},
		"a taint":              {func(n *v1.Node) { n.Spec.Taints = []v1.Taint{{Key: "a"}} }, true},
		"a label":              {func(n *v1.Node) { n.Labels = map[string]string{"a": "b"} }, true},
		"allocatable":          {func(n *v1.Node) { n.Status.Allocatable["gpu"] = apiresource.MustParse("1") }, true},
		"another of this name": {func(n *v1.Node) { n.UID = "other" }, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := New("", placement.Pack)
			_, err := l.Apply(start, Synced{})
			require.NoError(t, err)
			node := newNode("a", 4)
			_, _ = l.Apply(start, NodeSeen{node})
			before := l.View().Epoch
			changed := node.DeepCopy()
			test.edit(changed)
			_, _ = l.Apply(start, NodeSeen{changed})
			assert.Equal(t, test.want, l.View().Epoch != before)
		})
	}
}

func TestDomainsAreTheValuesOfTheTopologyKey(t *testing.T) {
	l := New("zone", placement.Pack)
	node := newNode("a", 4)
	node.Labels = map[string]string{"zone": "z1"}
	_, _ = l.Apply(start, NodeSeen{node})
	_, _ = l.Apply(start, NodeSeen{newNode("b", 4)})
	view := l.View()
	assert.Equal(t, []string{"z1", ""}, []string{view.Domain(0), view.Domain(1)})
	_, _ = l.Apply(start, NodeGone{"a"})
	assert.Equal(t, "z1", view.Domain(0), "a view stays as it is")
	_, known := l.View().Index("a")
	assert.False(t, known)
}

// A cluster that replaces its nodes all the time must not make the table longer and longer.
func TestEntriesOfNodesThatAreGoneAreUsedAgain(t *testing.T) {
	l := New("", placement.Pack)
	_, _ = l.Apply(start, Synced{})
	for day := range 1000 {
		_, _ = l.Apply(start, NodeSeen{newNode(fmt.Sprint("node-", day), 4)})
		_, _ = l.Apply(start, NodeSeen{newNode(fmt.Sprint("other-", day), 4)})
		l.View()
		_, _ = l.Apply(start, NodeGone{fmt.Sprint("node-", day)})
		_, _ = l.Apply(start, NodeGone{fmt.Sprint("other-", day)})
		_, _ = l.Apply(start, NodeGone{fmt.Sprint("never seen ", day)})
	}
	assert.LessOrEqual(t, l.View().Len(), 3)
	assert.True(t, l.nodes.Total().IsZero())
}

// While pods are left on it, a node that is gone is remembered.
func TestANodeThatIsGoneKeepsItsPodsCounted(t *testing.T) {
	w := newWorld()
	_ = w.apply(Synced{})
	_ = w.apply(NodeSeen{newNode("a", 4)})
	p := w.newPod(Lone, "", 3)
	p.Node = "a"
	w.see(p)
	_ = w.apply(NodeGone{"a"})
	_ = w.apply(NodeSeen{newNode("a", 4)})
	i, known := w.View().Index("a")
	require.True(t, known)
	assert.EqualValues(t, 1000, w.View().Free(i).CPU)
	_ = w.apply(NodeGone{"a"})
	w.end(p.UID)
	_, known = w.View().Index("a")
	assert.False(t, known)
}

func TestAnUnknownEventPanics(t *testing.T) {
	assert.PanicsWithValue(t, "ledger: event ledger.unknown is not known", func() { _, _ = New("", placement.Pack).Apply(start, unknown{}) })
}

type unknown struct{}

func (unknown) ledgerEvent() {}

// What is handed in stays the caller's.
func TestSlotsHandedInAreNotWrittenTo(t *testing.T) {
	w := newWorld()
	_ = w.apply(Synced{})
	_ = w.apply(NodeSeen{newNode("a", 9)})
	leader := w.newPod(Leader, "x", 1)
	w.see(leader)
	_ = w.apply(Defined{leader.UID, definition(1, 2)})
	slots := []gang.Slot{{Node: "a", Requests: cores(2)}}
	require.NoError(t, w.apply(Admitted{Leader: leader.UID, Node: "a", Slots: slots}))
	worker := w.newPod(Worker, "x", 2)
	w.see(worker)
	_ = w.apply(Placed{worker.UID, "a"})
	assert.Equal(t, []gang.Slot{{Node: "a", Requests: cores(2)}}, slots)

	r, admitted := w.Reservation(leader.UID)
	require.True(t, admitted)
	assert.Equal(t, Runs(slots), r.Slots, "a reservation is written with every slot open")
	_, admitted = w.Reservation(worker.UID)
	assert.False(t, admitted)
}

func TestANodeWithoutAnythingAllocatableOffersNothing(t *testing.T) {
	l := New("", placement.Pack)
	_, _ = l.Apply(start, NodeSeen{&v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "bare"}}})
	view := l.View()
	i, known := view.Index("bare")
	require.True(t, known)
	assert.True(t, view.Free(i).IsZero() && view.Empty().Free(i).IsZero() && view.Held(i).IsZero())
}
