package ledger

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"retinue.dev/retinue/pkg/gang"
)

// A queue names the first of those who wait in it, in order, and a hundred at most. Seen failing when all were named, and in any order.
func TestAQueueNamesTheFirstWhoWait(t *testing.T) {
	c := started(t, limited("ns", 1), []string{"a"})
	wait := func(name string, edit func(*Pod)) {
		p := c.pod("ns", name, 4, "")
		p.Kind, p.Gang = Leader, gang.Key{Namespace: "ns", Name: name}
		edit(&p)
		c.tell(PodSeen{p})
		c.tell(Defined{p.UID, definition(1, 1)})
		verdict, _, _ := c.Gate(c.now, p)
		require.False(t, verdict.Passes())
	}
	for i := range 150 {
		wait(fmt.Sprintf("app-%03d", i), func(p *Pod) { p.Created = start.Add(time.Duration(i) * time.Second) })
	}
	wait("vip", func(p *Pod) { p.Priority = 1 })
	wait("ranked", func(p *Pod) { p.Rank = 1 })
	standings, _ := c.Queues()
	for _, standing := range standings {
		if standing.Name != "ns" {
			assert.Empty(t, standing.First)
			continue
		}
		require.Len(t, standing.First, 100)
		var names []string
		for _, w := range standing.First {
			names = append(names, w.Name)
			assert.Equal(t, "ns", w.Namespace)
			assert.Equal(t, gang.NeverFitsQueue, w.Reason)
		}
		assert.Equal(t, []string{"vip", "ranked", "app-000", "app-001"}, names[:4])
		assert.Equal(t, "app-097", names[99])
	}
}
