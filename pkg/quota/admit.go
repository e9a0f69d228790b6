package quota

import (
	"cmp"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/resource"
)

// Reason is a stable CamelCase code for why a queue does not let something start. The set is closed.
type Reason string

const (
	// NeverFitsQueue: what is asked for is by itself more than a limit, so waiting does not help.
	NeverFitsQueue Reason = "NeverFitsQueue"
	// QueueClosed: the queue or one above it is draining or stopped.
	QueueClosed Reason = "QueueClosed"
	// QueueMaxGangs: as many gangs run as may.
	QueueMaxGangs Reason = "QueueMaxGangs"
	// LeaderShare: leaders hold as much as they may.
	LeaderShare Reason = "LeaderShare"
	// QueueLimit: the queue or one above it would exceed its limit.
	QueueLimit Reason = "QueueLimit"
	// UserLimit: the user would exceed the limit of each user.
	UserLimit Reason = "UserLimit"
)

// Verdict is why something does not start now, with its numbers. The zero Verdict lets it start.
type Verdict struct {
	Reason Reason
	// Queue that stands in the way: the one asked about, or one above it.
	Queue string
	// User whose limit it is, if PerUser; the user without a name is one as well.
	User    string
	PerUser bool
	// State of a closed queue.
	State State
	// Resource the numbers are of, in the unit of resource.Vector; empty when they count gangs.
	Resource v1.ResourceName
	// Used of the Limit already, and Asked now.
	Used, Asked, Limit int64
	// LimitIs as in Spec.
	LimitIs string
}

// Passes tells whether nothing stands in the way.
func (v Verdict) Passes() bool { return v.Reason == "" }

// Permanent tells whether waiting alone cannot help.
func (v Verdict) Permanent() bool { return v.Reason == NeverFitsQueue }

// Yields tells whether it stands in the way for what runs and is counted, other than room, so that others may leave for it.
func (v Verdict) Yields() bool {
	return v.Reason == QueueMaxGangs || v.Reason == LeaderShare || v.Reason == UserLimit
}

// lessens tells whether less is counted of what a Verdict counts when somebody goes.
func (v Verdict) lessens(gone Victim) bool {
	if v.PerUser && gone.User != v.User {
		return false
	}
	switch v.Reason {
	case QueueMaxGangs:
		return gone.Gangs > 0
	case LeaderShare:
		return !gone.Leader.IsZero()
	default:
		return true
	}
}

// Text is the sentence for a user, without the reason. It names nobody but the queue of who asks, those above it, and its own user.
func (v Verdict) Text(bool) string { return v.String() }

// Gangs is the name of what a limit of their number counts, among the names of resources.
const Gangs v1.ResourceName = "gangs"

// Figures are its numbers.
func (v Verdict) Figures() resource.Figures {
	if v.Passes() || v.Reason == QueueClosed {
		return resource.Figures{}
	}
	figure := resource.Figure{Name: cmp.Or(v.Resource, Gangs), Need: v.Asked, Limit: &v.Limit}
	if v.Reason != NeverFitsQueue {
		figure.Used = &v.Used
	}
	return resource.Figures{Of: []resource.Figure{figure}}
}

// String is that sentence.
func (v Verdict) String() string {
	number := func(value int64) string {
		if v.Resource == "" {
			return fmt.Sprint(value)
		}
		return fmt.Sprintf("%s %s", v.Resource, quantity(v.Resource, value))
	}
	whose := ""
	if v.PerUser {
		whose = " for each user"
	}
	limit := quantity(v.Resource, v.Limit)
	if v.LimitIs != "" {
		limit += ", " + v.LimitIs
	}
	switch v.Reason {
	case "":
		return "fits"
	case NeverFitsQueue:
		return fmt.Sprintf("asks for %s, and the limit of queue %s%s is %s: it can never start", number(v.Asked), v.Queue, whose, limit)
	case QueueClosed:
		return fmt.Sprintf("queue %s is %s", v.Queue, map[State]string{Draining: "draining: no gang starts", Stopped: "stopped: nothing starts"}[v.State])
	case QueueMaxGangs:
		if v.PerUser {
			return fmt.Sprintf("user %q runs %d of at most %d gangs for each user in queue %s", v.User, v.Used, v.Limit, v.Queue)
		}
		return fmt.Sprintf("queue %s runs %d of at most %d gangs", v.Queue, v.Used, v.Limit)
	case LeaderShare:
		return fmt.Sprintf("the leaders in queue %s hold %s of at most %s, and this one asks for %s",
			v.Queue, number(v.Used), quantity(v.Resource, v.Limit), quantity(v.Resource, v.Asked))
	case UserLimit:
		return fmt.Sprintf("user %q holds %s in queue %s, of at most %s for each user, and asks for %s more",
			v.User, number(v.Used), v.Queue, quantity(v.Resource, v.Limit), quantity(v.Resource, v.Asked))
	default:
		return fmt.Sprintf("queue %s holds %s of at most %s, and %s more is asked for; %s too much",
			v.Queue, number(v.Used), limit, quantity(v.Resource, v.Asked), quantity(v.Resource, v.Used+v.Asked-v.Limit))
	}
}

// Fits tells whether a queue, all above it, and the user's limits let something start now, and else the reason that lasts
// longest: what can never fit, then closed queues, then counts, then leaders, then limits, each from the queue upwards.
// A resource that is not limited or not asked for is not checked.
func (t *Tree) Fits(queue string, d Demand) Verdict {
	t.settle()
	return t.leaf(queue).fits(d)
}

// Keeps tells whether a reason, of those that Fits finds one after the other, keeps something from starting, whatever else does.
func (t *Tree) Keeps(queue string, d Demand, reason Reason) bool {
	t.settle()
	check := map[Reason]func(*node, Demand) Verdict{
		QueueMaxGangs: (*node).countFits, LeaderShare: (*node).leaderFits, QueueLimit: (*node).limitFits, UserLimit: (*node).userFits,
	}[reason]
	return check != nil && slices.ContainsFunc(t.leaf(queue).path, func(n *node) bool { return check(n, d).Reason != "" })
}

// WithinGuarantee tells whether a queue uses no more than it is guaranteed when something starts in it, of all it is guaranteed
// that is asked for.
func (t *Tree) WithinGuarantee(queue string, d Demand) bool {
	t.settle()
	n := t.leaf(queue)
	if n.ofParent() {
		n = n.parent
	}
	within := false
	for _, amount := range n.guaranteed {
		if asked := d.Amount.Of(amount.Name); asked > 0 {
			if within = n.used.Of(amount.Name)+asked <= amount.Value; !within {
				return false
			}
		}
	}
	return within
}

func (n *node) fits(d Demand) Verdict {
	for _, above := range n.path {
		if v := above.everFits(d); v.Reason != "" {
			return v
		}
	}
	if n.state == Stopped || n.state == Draining && d.Gangs > 0 {
		return n.closed()
	}
	for _, above := range n.path {
		if v := above.countFits(d); v.Reason != "" {
			return v
		}
	}
	for _, above := range n.path {
		if v := above.leaderFits(d); v.Reason != "" {
			return v
		}
	}
	for _, above := range n.path {
		if v := above.limitFits(d); v.Reason != "" {
			return v
		}
		if v := above.userFits(d); v.Reason != "" {
			return v
		}
	}
	return Verdict{}
}

// exceeds is the first resource of which used and asked together are more than the limit, if one is.
func exceeds(limits Amounts, used, asked *resource.Vector) (limit resource.Amount, exceeded bool) {
	for _, limit := range limits {
		if more := asked.Of(limit.Name); more > 0 && more > limit.Value-used.Of(limit.Name) {
			return limit, true
		}
	}
	return resource.Amount{}, false
}

func (n *node) everFits(d Demand) Verdict {
	if limit, exceeded := exceeds(n.Limit, &resource.Vector{}, &d.Amount); exceeded {
		return Verdict{Reason: NeverFitsQueue, Queue: n.Name, Resource: limit.Name, Asked: d.Amount.Of(limit.Name), Limit: limit.Value, LimitIs: n.LimitIs}
	}
	if limit, exceeded := exceeds(n.Users.Limit, &resource.Vector{}, &d.Amount); exceeded {
		return Verdict{Reason: NeverFitsQueue, Queue: n.Name, User: d.User, PerUser: true, Resource: limit.Name, Asked: d.Amount.Of(limit.Name), Limit: limit.Value}
	}
	return Verdict{}
}

func (n *node) closed() Verdict {
	for _, above := range n.path {
		if above.State == n.state {
			return Verdict{Reason: QueueClosed, Queue: above.Name, State: n.state}
		}
	}
	return Verdict{Reason: QueueClosed, Queue: n.Name, State: n.state}
}

func (n *node) countFits(d Demand) Verdict {
	if d.Gangs == 0 {
		return Verdict{}
	}
	taken := n.gangs + n.gangsPromised
	if d.Promised {
		taken -= d.Gangs
	}
	if most := n.MaxRunningGangs; most != nil && taken+d.Gangs > *most {
		return Verdict{Reason: QueueMaxGangs, Queue: n.Name, Used: taken, Asked: d.Gangs, Limit: *most}
	}
	if most := n.Users.MaxRunningGangs; most != nil && n.gangsOf(d.User)+d.Gangs > *most {
		return Verdict{Reason: QueueMaxGangs, Queue: n.Name, User: d.User, PerUser: true, Used: n.gangsOf(d.User), Asked: d.Gangs, Limit: *most}
	}
	return Verdict{}
}

func (n *node) gangsOf(user string) int64 { return n.users[user].gangs }

func (n *node) leaderFits(d Demand) Verdict {
	if n.leading == 0 {
		return Verdict{} // one always passes, or a share too small for any leader would stop the queue for good
	}
	if limit, exceeded := exceeds(n.leaderLimit, &n.leaders, &d.Leader); exceeded {
		return Verdict{Reason: LeaderShare, Queue: n.Name, Resource: limit.Name, Used: n.leaders.Of(limit.Name), Asked: d.Leader.Of(limit.Name), Limit: limit.Value}
	}
	return Verdict{}
}

func (n *node) limitFits(d Demand) Verdict {
	if len(n.Limit) == 0 {
		return Verdict{}
	}
	taken := n.used.Add(n.promised)
	if d.Promised {
		taken = taken.Sub(d.Amount)
	}
	if limit, exceeded := exceeds(n.Limit, &taken, &d.Amount); exceeded {
		return Verdict{Reason: QueueLimit, Queue: n.Name, Resource: limit.Name, Used: taken.Of(limit.Name), Asked: d.Amount.Of(limit.Name), Limit: limit.Value, LimitIs: n.LimitIs}
	}
	return Verdict{}
}

func (n *node) userFits(d Demand) Verdict {
	a, holds := n.users[d.User]
	if !holds || len(n.Users.Limit) == 0 {
		return Verdict{} // the demand alone has passed already
	}
	if limit, exceeded := exceeds(n.Users.Limit, &a.used, &d.Amount); exceeded {
		return Verdict{Reason: UserLimit, Queue: n.Name, User: d.User, PerUser: true, Resource: limit.Name, Used: a.used.Of(limit.Name), Asked: d.Amount.Of(limit.Name), Limit: limit.Value}
	}
	return Verdict{}
}
