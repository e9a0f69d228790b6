package placement

import (
	"fmt"
	"strings"

	"retinue.dev/retinue/pkg/resource"
)

// Text is String: it speaks of nodes only.
func (h *Shortage) Text(bool) string { return h.String() }

// Figures are its numbers: of TooLarge those of one member and of the node with the most room.
func (h *Shortage) Figures() resource.Figures {
	nodes := h.Nodes
	if h.Kind == Insufficient || h.Kind == Fragmented {
		nodes = h.Eligible
	}
	f := resource.Figures{Nodes: &nodes}
	if h.Resource == "" {
		return f
	}
	figure := resource.Figure{Name: h.Resource, Need: h.Needed, Free: &h.Free}
	if h.TooLarge {
		figure.Need, figure.Free = h.Request.Of(h.Resource), &h.Largest
	}
	f.Of = []resource.Figure{figure}
	return f
}

// String is one sentence for people, with numbers and without a full stop:
// "3 of 4 executors fit: cpu 24 asked for in all, 20 free on 100 nodes".
func (h *Shortage) String() string {
	switch h.Kind {
	case NoDomain:
		if h.Domain != "" {
			return fmt.Sprintf("none of %s is in domain %s, where the gang must sit", counted(h.Nodes, "node"), h.Domain)
		}
		return fmt.Sprintf("none of %s is in a domain, and the gang must sit in one", counted(h.Nodes, "node"))
	case NoEligibleNode:
		return fmt.Sprintf("none of %s may hold %s", h.nodes(h.Nodes), h.Member)
	}
	if h.TooLarge {
		return h.tooLarge()
	}
	var b strings.Builder
	b.WriteString(h.start())
	if h.Kind == Insufficient {
		fmt.Fprintf(&b, ": %s asked for in all, %s free on %s", h.amount(h.Needed), h.value(h.Free), h.nodes(h.Eligible))
	} else {
		fmt.Fprintf(&b, ": %s free on %s in all, but not in pieces of %s", h.amount(h.Free), h.nodes(h.Eligible), h.Request)
	}
	if !h.Proven {
		b.WriteString(", as far as was searched")
	}
	return b.String()
}

// start is "3 of 4 executors fit beside the rest of the gang".
func (h *Shortage) start() string {
	beside := ""
	if h.Beside {
		beside = " beside the rest of the gang"
	}
	if h.Leader {
		return fmt.Sprintf("%s does not fit%s", h.Member, beside)
	}
	return fmt.Sprintf("%d of %s fit%s", h.Placed, counted(h.Count, h.Member), beside)
}

func (h *Shortage) tooLarge() string {
	who := "each"
	if h.Leader {
		who = "it"
	}
	if asked := h.Request.Of(h.Resource); h.Largest < asked {
		return fmt.Sprintf("%s: %s needs %s, and the most free on one of %s is %s (%s in all)",
			h.start(), who, h.amount(asked), h.nodes(h.Eligible), h.value(h.Largest), h.value(h.Free))
	}
	return fmt.Sprintf("%s: %s needs %s, which none of %s has free at once", h.start(), who, h.Request, h.nodes(h.Eligible))
}

// nodes is "100 nodes", or "100 nodes of zone-a".
func (h *Shortage) nodes(n int) string {
	if h.Domain != "" {
		return counted(n, "node") + " of " + h.Domain
	}
	return counted(n, "node")
}

// amount is "cpu 24".
func (h *Shortage) amount(value int64) string {
	return fmt.Sprintf("%s %s", h.Resource, h.value(value))
}

func (h *Shortage) value(value int64) string { return resource.Quantity(h.Resource, value).String() }

// counted is "1 node", "2 nodes"; a noun that ends in s stays as it is.
func counted(n int, noun string) string {
	if n == 1 || strings.HasSuffix(noun, "s") {
		return fmt.Sprintf("%d %s", n, noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
