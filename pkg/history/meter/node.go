package meter

import (
	"slices"
	"strconv"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/history/store"
	"retinue.dev/retinue/pkg/resource"
)

// node is what is known of a node.
type node struct {
	uid, class string
	lost       int64 // since when it does not answer; 0 means that it does
	offers     []store.Amount
}

// seeNode is what a node says. A node that does not answer offers nothing.
func seeNode(object *v1.Node, classLabel string, at int64) node {
	n := node{uid: string(object.UID), class: object.Labels[classLabel]}
	for _, condition := range object.Status.Conditions {
		if condition.Type == v1.NodeReady && condition.Status != v1.ConditionTrue {
			if n.lost = condition.LastTransitionTime.UnixMilli(); n.lost <= 0 {
				n.lost = at
			}
		}
	}
	if n.lost == 0 {
		offers := resource.OfList(object.Status.Allocatable)
		offers.Pods = 0
		n.offers = amountsOf(offers)
	}
	return n
}

// span of a node. Its segments are numbered by the resource version at which what it offers was first seen.
func (n node) span(object *v1.Node, at int64, gone bool) store.Span {
	span := store.Span{
		UID: n.uid, Kind: store.Node,
		Description: store.Description{Rank: 1, Seen: at, Name: object.Name, Node: object.Name, Class: n.class},
		Start:       store.Evidence{At: object.CreationTimestamp.UnixMilli(), Rank: store.StartScheduled},
	}
	if gone {
		span.End = store.Evidence{At: at, Rank: store.EndDeleted, Reason: "Deleted"}
		return span
	}
	version, _ := strconv.ParseInt(object.ResourceVersion, 10, 64) // 0 where versions are no numbers: the first that was seen stays
	span.Alive = at
	span.Segments = []store.Segment{{Seq: version, Since: at, Amounts: n.offers}}
	return span
}

// same tells whether two sights of a node say the same.
func (n node) same(o node) bool {
	return n.uid == o.uid && n.class == o.class && n.lost == o.lost && slices.Equal(n.offers, o.offers)
}
