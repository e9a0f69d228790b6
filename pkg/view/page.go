package view

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

// maxMoments bounds how much of a life is told.
const maxMoments = 60

// Moment is what happened at a time.
type Moment struct {
	Time metav1.Time `json:"time"`
	Text string      `json:"text"`
	// step puts what is of the same second in the order in which it happens: pods say no more than the second.
	step int
}

// Steps of a life.
const (
	submitted = iota
	waits
	admitted
	placed
	ready
	works
	ends
)

// Seat is what an application has on one node.
type Seat struct {
	Node string `json:"node"`
	// Slots are kept there for workers; Running and Pending are its pods there.
	Slots   int `json:"slots"`
	Running int `json:"running"`
	Pending int `json:"pending"`
	// Leader tells that its driver is there.
	Leader bool `json:"leader,omitempty"`
}

// Prediction is what workers were taken for before there were any, and what they are.
type Prediction struct {
	Role      string          `json:"role"`
	Count     int             `json:"count"`
	Predicted v1.ResourceList `json:"predicted,omitempty"`
	// Real is what the first worker asks for; absent while there is none.
	Real v1.ResourceList `json:"real,omitempty"`
	// Differences are in words; empty where the prediction was right, as far as is known.
	Differences []string `json:"differences,omitempty"`
}

// Detail is everything about one application.
type Detail struct {
	App
	Timeline    []Moment     `json:"timeline"`
	Seats       []Seat       `json:"seats"`
	Predictions []Prediction `json:"predictions,omitempty"`
}

// NewDetail tells all that its pods and the events about them say.
func NewDetail(app App, o Objects, events []v1.Event) Detail {
	return Detail{App: app, Timeline: app.timeline(events), Seats: app.seats(), Predictions: app.predictions(o)}
}

func (a App) timeline(events []v1.Event) []Moment {
	var moments []Moment
	add := func(step int, at metav1.Time, format string, args ...any) {
		if !at.IsZero() {
			moments = append(moments, Moment{at, Clean(fmt.Sprintf(format, args...)), step})
		}
	}
	speaker := a.leader
	if speaker == nil && len(a.pods) > 0 {
		speaker = a.pods[0]
	}
	who := "the driver"
	if a.Kind != KindSpark {
		who = "pod " + speaker.Name
	}
	add(submitted, a.Submitted, "submitted")
	if at := scheduled(speaker); at != nil {
		add(placed, *at, "%s has node %s", who, speaker.Spec.NodeName)
	}
	if c := condition(speaker, v1.PodReady); c != nil && c.Status == v1.ConditionTrue {
		add(ready, c.LastTransitionTime, "%s is ready", who)
	}
	if at := ended(speaker); at != nil {
		add(ends, *at, "%s has ended: %s", who, speaker.Status.Phase)
	}
	a.workerMoments(add)
	for _, pod := range a.pods {
		if c := condition(pod, v1.DisruptionTarget); c != nil && c.Status == v1.ConditionTrue {
			add(works, c.LastTransitionTime, "pod %s has to go: %s", pod.Name, c.Message)
		}
	}
	for _, event := range events {
		if event.Reason == "Scheduled" && event.InvolvedObject.Name == speaker.Name && speaker.Spec.NodeName != "" {
			continue // which is told already
		}
		last, times := eventTime(event)
		text := event.Reason + ": " + event.Message
		if reason, known := gang.ReasonOf(event.Message); known && string(reason) == event.Reason || strings.HasPrefix(event.Message, event.Reason+":") {
			text = event.Message
		}
		if event.InvolvedObject.Name != speaker.Name {
			text = event.InvolvedObject.Name + ": " + text
		}
		if times > 1 {
			text += fmt.Sprintf(" (%d times)", times)
		}
		add(stepOf(event), last, "%s", text)
	}
	slices.SortStableFunc(moments, func(a, b Moment) int {
		return cmp.Or(a.Time.Truncate(time.Second).Compare(b.Time.Truncate(time.Second)), cmp.Compare(a.step, b.step))
	})
	if more := len(moments) - maxMoments; more > 0 {
		moments = slices.Delete(moments, 1, 1+more) // when it was submitted stays
	}
	return moments
}

// stepOf is where in a life an event belongs.
func stepOf(event v1.Event) int {
	reason := gang.Reason(event.Reason)
	if said, known := gang.ReasonOf(event.Message); known {
		reason = said
	}
	switch {
	case reason.Trait().Waits:
		return waits
	case reason == gang.GangAdmitted:
		return admitted
	}
	return works
}

// workerMoments tells of the first and the last worker that came, and of the first that was lost.
func (a App) workerMoments(add func(int, metav1.Time, string, ...any)) {
	var starts []metav1.Time
	for _, pod := range a.pods {
		if pod == a.leader {
			continue
		}
		if pod.Status.StartTime != nil {
			starts = append(starts, *pod.Status.StartTime)
		}
		if at := ended(pod); at != nil && pod.Status.Phase == v1.PodFailed {
			add(works, *at, "%s has failed", pod.Name)
		}
	}
	slices.SortFunc(starts, func(a, b metav1.Time) int { return a.Compare(b.Time) })
	if n := len(starts); n > 0 {
		add(works, starts[0], "the first of %s starts", gang.Counted(n, "worker"))
		if n > 1 {
			add(works, starts[n-1], "the last of %s starts", gang.Counted(n, "worker"))
		}
	}
}

func eventTime(event v1.Event) (last metav1.Time, times int32) {
	times = max(event.Count, 1)
	switch {
	case event.Series != nil:
		return metav1.Time{Time: event.Series.LastObservedTime.Time}, max(event.Series.Count, 1)
	case !event.LastTimestamp.IsZero():
		return event.LastTimestamp, times
	case !event.EventTime.IsZero():
		return metav1.Time{Time: event.EventTime.Time}, times
	default:
		return event.CreationTimestamp, times
	}
}

// seats are the nodes that it has something on, by name.
func (a App) seats() []Seat {
	byNode := map[string]*Seat{}
	at := func(node string) *Seat {
		if byNode[node] == nil {
			byNode[node] = &Seat{Node: node}
		}
		return byNode[node]
	}
	for _, slots := range a.reservation.Slots {
		at(slots.Node).Slots += slots.Count
	}
	for _, pod := range a.pods {
		switch {
		case pod.Spec.NodeName == "" || over(pod):
		case pod == a.leader:
			at(pod.Spec.NodeName).Leader = true
		case pod.Status.Phase == v1.PodRunning:
			at(pod.Spec.NodeName).Running++
		default:
			at(pod.Spec.NodeName).Pending++
		}
	}
	seats := []Seat{}
	for _, node := range slices.Sorted(maps.Keys(byNode)) {
		seats = append(seats, *byNode[node])
	}
	return seats
}

// predictions compares what workers were taken for with the oldest that is there.
func (a App) predictions(o Objects) []Prediction {
	var predictions []Prediction
	definition, inferred := o.Definitions[a.Namespace+"/"+a.Name]
	if inferred && definition.Err == nil {
		for _, role := range definition.Roles {
			p := Prediction{Role: role.Name, Count: role.Count, Predicted: role.Requests.List()}
			if real := a.first(role.Name); real != nil {
				p.Real = resource.OfPod(real).List()
				for _, difference := range spark.Compare(role.Pod, real) {
					p.Differences = append(p.Differences, Clean(difference.String()))
				}
			}
			predictions = append(predictions, p)
		}
		return predictions
	}
	for _, role := range a.reservation.Roles {
		p := Prediction{Role: role.Name, Count: role.Count, Predicted: resource.OfList(role.Requests).List()}
		if real := a.first(role.Name); real != nil {
			asks := resource.OfPod(real)
			p.Real = asks.List()
			if !asks.List()[v1.ResourceCPU].Equal(p.Predicted[v1.ResourceCPU]) || Amounts(p.Real) != Amounts(p.Predicted) {
				p.Differences = append(p.Differences, fmt.Sprintf("%s instead of %s", Amounts(p.Real), Amounts(p.Predicted)))
			}
		}
		predictions = append(predictions, p)
	}
	return predictions
}

// first is the oldest worker of a role that the application's properties describe; nil where there is none.
func (a App) first(role string) *v1.Pod {
	var oldest *v1.Pod
	for _, pod := range a.pods {
		if pod != a.leader && roleOf(pod) == role && (role != spark.RoleExecutor || spark.InDefaultProfile(pod)) &&
			(oldest == nil || pod.CreationTimestamp.Before(&oldest.CreationTimestamp)) {
			oldest = pod
		}
	}
	return oldest
}

// Write writes the page. Times are those of UTC.
func (d Detail) Write(out io.Writer, style Style) error {
	var b strings.Builder
	b.WriteString(d.headline(style))
	rows := [][]string{}
	row := func(name, text string) {
		if text != "" {
			rows = append(rows, []string{"  " + name, text})
		}
	}
	row("application", Clean(d.Application))
	row("user", d.User)
	row("queue", d.Queue)
	if d.Kind != KindPod {
		workers := d.Workers.String()
		if d.Workers.Slots > 0 {
			workers += ", " + gang.Counted(d.Workers.Slots, "slot")
		}
		row("executors", workers)
	}
	row("asks for", Amounts(d.Asks))
	holds := Amounts(d.Holds)
	if d.Share != nil && holds != "" {
		holds += fmt.Sprintf(" (%.0f%% of the queue)", *d.Share*100)
	}
	row("holds", holds)
	row("submitted", d.Submitted.UTC().Format("2006-01-02 15:04:05 UTC"))
	row("waited", Age(time.Duration(d.Wait)*time.Second))
	if d.Run != nil {
		row("runs for", Age(time.Duration(*d.Run)*time.Second))
	}
	if d.Position != nil {
		row("position", fmt.Sprintf("%d of %d in its queue", *d.Position, d.Of))
	}
	if d.State == Waiting {
		row("reason", d.sentence("not told yet"))
		row("has to act", d.hasToAct())
		for i, text := range d.Told.texts() {
			row(map[bool]string{true: "its pod says"}[i == 0], text)
		}
	}
	b.WriteString(aligned(rows, nil))
	if len(d.Timeline) > 0 {
		b.WriteString("timeline\n")
		lines := [][]string{}
		for _, moment := range d.Timeline {
			lines = append(lines, []string{"  " + moment.Time.UTC().Format("15:04:05"), moment.Text})
		}
		b.WriteString(aligned(lines, nil))
	}
	if len(d.Seats) > 0 {
		lines := [][]string{{"  NODE", "SLOTS", "RUNNING", "PENDING", "DRIVER"}}
		for _, seat := range d.Seats {
			driver := none
			if seat.Leader {
				driver = "here"
			}
			lines = append(lines, []string{"  " + seat.Node, fmt.Sprint(seat.Slots), fmt.Sprint(seat.Running), fmt.Sprint(seat.Pending), driver})
		}
		b.WriteString("nodes\n" + aligned(lines, nil))
	}
	if len(d.Predictions) > 0 {
		b.WriteString("prediction\n")
	}
	for _, p := range d.Predictions {
		fmt.Fprintf(&b, "  %d × %s, each %s: %s\n", p.Count, p.Role, cmp.Or(Amounts(p.Predicted), "nothing"), p.verdict())
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (p Prediction) verdict() string {
	switch {
	case len(p.Differences) > 0:
		return "the first that came differs: " + strings.Join(p.Differences, "; ")
	case p.Real != nil:
		return "the first that came is as predicted"
	default:
		return "none has come yet"
	}
}

// headline names an application and its state.
func (a App) headline(style Style) string {
	state := string(a.State)
	if code := codes[stateTones[a.State]]; code != "" && style.Colour {
		state = code + state + endOfColour
	}
	return fmt.Sprintf("%s/%s: %s\n", a.Namespace, Clean(a.Name), state)
}
