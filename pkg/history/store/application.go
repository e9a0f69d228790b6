package store

import "cmp"

// Application is what is known of one gang, or of pods that have one owner.
type Application struct {
	// Key is the namespace and the gang's name, or the UID of the owner.
	Key string
	Profile
	Submitted int64    // when the first of its pods was created
	Bound     int64    // when the first of its pods got its node; 0 means not yet
	End       Evidence // of its leader; its Reason is the result, Succeeded or Failed or Deleted
	Last      Wait     // what was said last of its waiting
}

// Profile is what one pod says of its application. A leader's word goes before a worker's, and of two the first.
type Profile struct {
	Rank      int   // 2 a leader's, 1 a worker's
	Seen      int64 // when
	Namespace string
	Name      string // for people
	ID        string // spark-app-selector, if it has one
	Kind      string // Spark, Gang, PodGroup, or the kind of the owner
	Owner     string // KIND/NAME of what made the leader, such as SparkApplication/daily
	Queue     string
	Priority  int64
	Identity
}

// Wait is why an application had no node at a time.
type Wait struct {
	At      int64
	Reason  string // the code; empty means that it no longer waits
	Message string
}

// ranks of a Profile.
const (
	OfWorker = 1
	OfLeader = 2
)

// Led tells whether its leader has been seen.
func (a *Application) Led() bool { return a.Rank == OfLeader }

// Merge returns the join of what two observations say.
func (a Application) Merge(o Application) Application {
	a.Key = cmp.Or(a.Key, o.Key)
	if o.Profile.compare(a.Profile) < 0 {
		a.Profile = o.Profile
	}
	a.Submitted = earliest(a.Submitted, o.Submitted)
	a.Bound = earliest(a.Bound, o.Bound)
	a.End = mergeEnd(a.End, o.End)
	if o.Last.compare(a.Last) > 0 {
		a.Last = o.Last
	}
	return a
}

func (p Profile) compare(o Profile) int {
	return cmp.Or(
		-cmp.Compare(p.Rank, o.Rank), cmp.Compare(p.Seen, o.Seen), cmp.Compare(p.Namespace, o.Namespace), cmp.Compare(p.Name, o.Name),
		cmp.Compare(p.ID, o.ID), cmp.Compare(p.Kind, o.Kind), cmp.Compare(p.Owner, o.Owner), cmp.Compare(p.Queue, o.Queue),
		cmp.Compare(p.Priority, o.Priority), p.Identity.compare(o.Identity))
}

func (w Wait) compare(o Wait) int {
	return cmp.Or(cmp.Compare(w.At, o.At), cmp.Compare(w.Reason, o.Reason), cmp.Compare(w.Message, o.Message))
}

// earliest of two times, of which zero is none.
func earliest(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
