package view

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
)

// maxHolders is how many of those who hold the room are named.
const maxHolders = 5

// Holder is an application that has what another waits for.
type Holder struct {
	Namespace string          `json:"namespace"`
	Name      string          `json:"name"`
	User      string          `json:"user,omitempty"`
	Holds     v1.ResourceList `json:"holds"`
	Run       *int64          `json:"runSeconds,omitempty"`
}

// Why is why an application waits, and what would help.
type Why struct {
	App
	// Others is what stands in its way besides its reason, as far as that could be seen.
	Others []Finding `json:"others"`
	// Resource that is short, if it is one that is, and by how much.
	Resource v1.ResourceName `json:"resource,omitempty"`
	Short    string          `json:"short,omitempty"`
	// Holders have the room, those with most of it first; More is how many others there are, and MoreHolds what they hold.
	Holders   []Holder        `json:"holders"`
	More      int             `json:"more,omitempty"`
	MoreHolds v1.ResourceList `json:"moreHolds,omitempty"`
	// UnseenHolds is what is used and whose pods could not be read.
	UnseenHolds v1.ResourceList `json:"unseenHolds,omitempty"`
	// Advice is what would help, in sentences.
	Advice []string `json:"advice"`
	// Missing is what could not be looked at.
	Missing []string `json:"notLookedAt"`
}

// NewWhy finds it out. q is what the application asks for; nil where that is not known.
func NewWhy(c *Cluster, app App, apps []App, q *Question) Why {
	w := Why{App: app, Others: []Finding{}, Holders: []Holder{}, Advice: []string{}, Missing: []string{}}
	if app.State != Waiting {
		w.Advice = append(w.Advice, app.otherwise()...)
		return w
	}
	about := Finding{Reason: app.Reason}
	var assessed Assessment
	if q != nil {
		assessed = c.Assess(*q)
		w.Missing = append(w.Missing, assessed.Unseen...)
		for _, finding := range assessed.Findings {
			if finding.Reason == app.Reason {
				about = finding
			} else {
				w.Others = append(w.Others, finding)
			}
		}
	}
	w.Resource, w.Short = about.Resource, about.Short
	w.hold(c, about, apps)
	w.Advice = append(w.Advice, adviceOn(app, about)...)
	if q == nil {
		return w
	}
	switch most := c.Largest(*q); {
	case assessed.Result == Fits && (len(assessed.Unseen) > 0 || app.Reason.Trait().OfQueue && c.assigned[app.Namespace] == ""): // which says nothing
	case assessed.Result == Fits:
		w.Advice = append(w.Advice, "nothing that could be seen stands in its way at this moment: the scheduler may start it at its next try")
	case most > 0:
		w.Advice = append(w.Advice, fmt.Sprintf("with %s instead of %d nothing that could be seen would stand in its way now", gang.Counted(most, q.Roles[0].Name), q.Roles[0].Count))
	}
	return w
}

// otherwise is what to say of an application that does not wait.
func (a App) otherwise() []string {
	missing := 0
	if a.Workers.Wanted != nil {
		missing = *a.Workers.Wanted - a.Workers.Running
	}
	switch {
	case a.State != Running:
		return []string{fmt.Sprintf("it does not wait: it is %s", a.State)}
	case missing <= 0:
		return []string{"it does not wait: it runs, with all that it started with"}
	}
	texts := []string{fmt.Sprintf("it does not wait: it runs with %d of %d", a.Workers.Running, *a.Workers.Wanted)}
	for _, pod := range a.pods {
		if reason, message := whyOf(pod); pod != a.leader && message != "" && stateOf(pod) == Waiting {
			return append(texts, fmt.Sprintf("%s waits: %s", pod.Name, strings.TrimSuffix(string(reason)+": "+message, ": ")))
		}
	}
	if a.Workers.Pending == 0 {
		texts = append(texts, fmt.Sprintf("%s missing and not asked for by the driver: the API server may refuse them, by a ResourceQuota for example; the driver's log says so",
			map[bool]string{true: "1 is", false: fmt.Sprintf("%d are", missing)}[missing == 1]))
	}
	return texts
}

// hasToAct is who has to act, and whether there is no other way.
func (a App) hasToAct() string {
	if a.Permanent {
		return string(a.Actor) + ": waiting alone does not help"
	}
	return string(a.Actor)
}

// hold finds who has the room: everybody in the queue that stands in the way, or everybody.
func (w *Why) hold(c *Cluster, about Finding, apps []App) {
	if trait := w.Reason.Trait(); !trait.OfQueue && !trait.OfRoom && w.Reason != gang.Collecting && w.Reason != gang.BehindOthers || trait.Permanent || w.Reason == gang.QueueClosed {
		return
	}
	queue := about.Queue
	if queue == "" && w.Reason.Trait().OfQueue {
		queue = w.Queue
	}
	var holders []Holder
	var seen resource.Vector
	for _, app := range apps {
		if len(app.Holds) == 0 || queue != "" && !c.below(app.Namespace, queue) {
			continue
		}
		holders = append(holders, Holder{app.Namespace, app.Name, app.User, app.Holds, app.Run})
		seen = seen.Add(resource.OfList(app.Holds))
	}
	by := cmp.Or(about.Resource, v1.ResourceCPU)
	slices.SortStableFunc(holders, func(a, b Holder) int {
		x, _ := amountOf(a.Holds, by)
		y, _ := amountOf(b.Holds, by)
		return cmp.Compare(y, x)
	})
	w.Holders = append(w.Holders, holders[:min(len(holders), maxHolders)]...)
	var rest resource.Vector
	for _, holder := range holders[len(w.Holders):] {
		w.More++
		rest = rest.Add(resource.OfList(holder.Holds))
	}
	w.MoreHolds = rest.List()
	if object := c.queues[queue]; object != nil && object.Status.ObservedGeneration > 0 {
		w.UnseenHolds = v1.ResourceList{}
		for name, amount := range resource.OfList(object.Status.Used).Sub(seen).List() {
			if amount.Sign() > 0 {
				w.UnseenHolds[name] = amount
			}
		}
	}
}

// below tells whether a namespace belongs to a queue or to one below it.
func (c *Cluster) below(namespace, queue string) bool {
	name := c.assigned[namespace]
	if above, _, template := strings.Cut(name, "/"); template && name != queue {
		name = above
	}
	for steps := 0; name != "" && steps <= len(c.queues); steps++ {
		if name == queue {
			return true
		}
		object := c.queues[name]
		if object == nil {
			return false
		}
		name = object.Spec.Parent
	}
	return false
}

// Write writes the page.
func (w Why) Write(out io.Writer, style Style) error {
	var b strings.Builder
	state := string(w.State)
	if code := codes[stateTones[w.State]]; code != "" && style.Colour {
		state = code + state + endOfColour
	}
	fmt.Fprintf(&b, "%s/%s", w.Namespace, Clean(w.Name))
	if w.User != "" {
		fmt.Fprintf(&b, " (%s)", w.User)
	}
	fmt.Fprintf(&b, " is %s", state)
	if w.State == Waiting {
		fmt.Fprintf(&b, " for %s", Age(time.Duration(w.Wait)*time.Second))
	}
	switch {
	case w.Position != nil:
		fmt.Fprintf(&b, ", number %d of %d in queue %s", *w.Position, w.Of, w.Queue)
	case w.Queue != "":
		fmt.Fprintf(&b, ", in queue %s", w.Queue)
	}
	b.WriteByte('\n')
	rows := [][]string{}
	row := func(name, text string) {
		if text = Clean(text); text == "" {
			return
		}
		if len(rows) > 0 && slices.ContainsFunc(rows, func(row []string) bool { return row[0] == "  "+name }) {
			name = ""
		}
		rows = append(rows, []string{"  " + name, text})
	}
	if w.State == Waiting {
		row("reason", w.sentence("no scheduler has said one yet"))
		row("has to act", w.hasToAct())
		row("asks for", Amounts(w.Asks))
		for _, text := range w.Told.texts() {
			row("its pod says", text)
		}
	}
	for _, finding := range w.Others {
		row("as well", string(finding.Reason)+": "+finding.Message)
	}
	for _, holder := range w.Holders {
		text := holder.Namespace + "/" + holder.Name
		if holder.User != "" {
			text += " (" + holder.User + ")"
		}
		text += ": " + Amounts(holder.Holds)
		if holder.Run != nil {
			text += ", for " + Age(time.Duration(*holder.Run)*time.Second)
		}
		row("held by", text)
	}
	if w.More > 0 {
		row("held by", fmt.Sprintf("%d more: %s", w.More, Amounts(w.MoreHolds)))
	}
	if len(w.UnseenHolds) > 0 {
		row("held by", "others, whose pods you may not read: "+Amounts(w.UnseenHolds))
	}
	for _, advice := range w.Advice {
		row("what helps", advice)
	}
	for _, missing := range w.Missing {
		row("not looked at", missing)
	}
	b.WriteString(aligned(rows, nil))
	_, err := io.WriteString(out, b.String())
	return err
}
