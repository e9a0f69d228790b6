package store

import (
	"cmp"
	"slices"
)

// Kind is what a Span is of.
type Kind string

const (
	Pod  Kind = "pod"
	Node Kind = "node" // its amounts are what it offers
)

// Ranks of the evidence for a start, best last.
const (
	StartObserved  = 1 // it was there when it was looked at
	StartAccepted  = 2 // the kubelet's acceptance, before the image is pulled
	StartScheduled = 3 // the API server's time of the binding
)

// Ranks of the evidence for an end, best last. Zero means that there is none.
const (
	EndInferred   = 1 // it had gone when it was looked for again; the only end that a later sight of the pod takes back
	EndNodeLost   = 2 // its node stopped answering: nobody pays for a dead node
	EndDeleted    = 3 // its object was deleted before it had ended
	EndTerminal   = 4 // it ended without a container that has run
	EndContainers = 5 // its last container finished
)

// Evidence is a time and how good the reason to believe it is. The zero Evidence is none.
type Evidence struct {
	At          int64
	Rank        int
	Uncertainty int64  // ms by which the time may be too early
	Reason      string // why it ended, for people: OOMKilled, Evicted
}

// Description is what is said of a pod or node besides its times. The first that was known when its node's class was known stays:
// who changes a label later changes no bill.
type Description struct {
	Rank        int    // 1 if the class of the node was known
	Seen        int64  // when
	Application string // Application.Key; empty for nodes
	Namespace   string
	Name        string
	Role        string // driver, executor, or what the pod says; may be empty
	Node        string
	Class       string // of the node; empty means unknown
	Queue       string // empty means that the namespace belongs to none
	Identity
}

// Identity is whose something is, and who says so.
type Identity struct {
	User   string
	Source string // one of the Source constants; empty if nobody says
}

// Sources of an Identity.
const (
	SourceLabel          = "label"          // retinue.dev/user, a label or an annotation
	SourceEnvironment    = "environment"    // SPARK_USER
	SourceServiceAccount = "serviceaccount" // nobody said anything: the pod's service account
)

// Segment is the time during which a span's amounts stay the same. It ends where the next begins.
type Segment struct {
	Seq     int64    // grows with every change; the generation of a pod
	Since   int64    // when it was first seen; the first segment of a span begins with the span
	Amounts []Amount // sorted by resource
}

// Amount is how much of a resource: CPU in millicores; memory, and whatever else is counted in bytes, in MiB; all else in pieces.
type Amount struct {
	Resource string
	Value    int64 // 0 to MaxValue
}

const (
	// MaxValue bounds an amount: two million cores, or 2 PiB. With it the sums of an hour over as many pods as a cluster holds
	// stay within 63 bits: see TestSumsStayWithinBounds.
	MaxValue = 1 << 31
	// MaxResources is of how many resources of one span account is kept, the first by name.
	MaxResources = 32
)

// Span is what is known of one pod or node: from when to when, of what, and what it held.
type Span struct {
	UID  string
	Kind Kind
	Description
	Start, End Evidence
	// Alive is when it was last seen and had not ended.
	Alive int64
	// Lost means that it was taken away from its user: by preemption, or by an eviction.
	Lost     bool
	Segments []Segment // sorted by Seq
}

// Open tells whether the span still lasts. An inferred end counts only as long as nobody has seen the pod after it.
func (s *Span) Open() bool {
	return s.End.Rank == 0 || s.End.Rank == EndInferred && s.Alive > s.End.At
}

// Ended is when the span ended; false if it still lasts. Nothing ends before it starts, whatever the clocks say.
func (s *Span) Ended() (int64, bool) {
	if s.Open() {
		return 0, false
	}
	return max(s.End.At, s.Start.At), true
}

// Merge returns what is known of a span by what two observations say: their join, whichever came first and however often.
func (s Span) Merge(o Span) Span {
	s.UID, s.Kind = cmp.Or(s.UID, o.UID), cmp.Or(s.Kind, o.Kind)
	s.Description = s.Description.merge(o.Description)
	s.Start = mergeStart(s.Start, o.Start)
	s.End = mergeEnd(s.End, o.End)
	s.Alive = max(s.Alive, o.Alive)
	s.Lost = s.Lost || o.Lost
	s.Segments = mergeSegments(s.Segments, o.Segments)
	return s
}

func (d Description) merge(o Description) Description {
	if d.compare(o) <= 0 {
		return d
	}
	return o
}

// compare puts the description that stays before the other: a known class, the earlier one, and then any fixed order.
func (d Description) compare(o Description) int {
	if (d == Description{}) != (o == Description{}) { // nothing is known yet
		if (d == Description{}) {
			return 1
		}
		return -1
	}
	return cmp.Or(
		-cmp.Compare(d.Rank, o.Rank), cmp.Compare(d.Seen, o.Seen), cmp.Compare(d.Application, o.Application),
		cmp.Compare(d.Namespace, o.Namespace), cmp.Compare(d.Name, o.Name), cmp.Compare(d.Role, o.Role), cmp.Compare(d.Node, o.Node),
		cmp.Compare(d.Class, o.Class), cmp.Compare(d.Queue, o.Queue), d.Identity.compare(o.Identity))
}

func (i Identity) compare(o Identity) int {
	return cmp.Or(cmp.Compare(i.User, o.User), cmp.Compare(i.Source, o.Source))
}

// mergeStart prefers the better evidence, and of two of the same the earlier.
func mergeStart(a, b Evidence) Evidence {
	switch {
	case a.Rank != b.Rank:
		if a.Rank > b.Rank {
			return a
		}
		return b
	case b.At < a.At:
		return b
	default:
		return a
	}
}

// mergeEnd prefers the better evidence. Of two of the same, containers that finished later and sights that came later say more;
// of deletions and lost nodes the earlier does.
func mergeEnd(a, b Evidence) Evidence {
	order := cmp.Compare(a.Rank, b.Rank)
	if order == 0 {
		order = cmp.Compare(a.At, b.At)
		if a.Rank == EndNodeLost || a.Rank == EndDeleted {
			order = -order
		}
		order = cmp.Or(order, -cmp.Compare(a.Uncertainty, b.Uncertainty), cmp.Compare(a.Reason, b.Reason))
	}
	if order >= 0 {
		return a
	}
	return b
}

// mergeSegments unites two lists. Of two with the same number the earlier stays.
func mergeSegments(a, b []Segment) []Segment {
	if len(a) == 0 {
		return b
	}
	merged := slices.Clone(a)
	for _, segment := range b {
		i, found := slices.BinarySearchFunc(merged, segment.Seq, func(s Segment, seq int64) int { return cmp.Compare(s.Seq, seq) })
		switch {
		case !found:
			merged = slices.Insert(merged, i, segment)
		case segment.compare(merged[i]) < 0:
			merged[i] = segment
		}
	}
	return merged
}

func (s Segment) compare(o Segment) int {
	return cmp.Or(cmp.Compare(s.Since, o.Since), slices.CompareFunc(s.Amounts, o.Amounts, func(a, b Amount) int {
		return cmp.Or(cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Value, b.Value))
	}))
}

// equal tells whether two spans say the same.
func (s *Span) equal(o *Span) bool {
	return s.UID == o.UID && s.Kind == o.Kind && s.Description == o.Description && s.Start == o.Start && s.End == o.End &&
		s.Alive == o.Alive && s.Lost == o.Lost && sameSegments(s.Segments, o.Segments)
}

func sameSegments(a, b []Segment) bool {
	return slices.EqualFunc(a, b, func(a, b Segment) bool { return a.Seq == b.Seq && a.compare(b) == 0 })
}
