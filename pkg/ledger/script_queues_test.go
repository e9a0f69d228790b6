package ledger

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

// namespaceOf is where a pod is: where the command says, else where its driver is.
func (s *script) namespaceOf(w words) string {
	return cmp.Or(w.keys["in"], s.world.pods[types.UID(w.keys["of"])].Namespace, "ns")
}

// runQueues executes the commands that show only what users are told.
func (s *script) runQueues(w words, name string) (said []string, err error) {
	var told []string
	note := func() {
		for _, line := range show(s.world.effects) {
			if strings.HasPrefix(line, "tell ") || strings.HasPrefix(line, "evict ") {
				told = append(told, line)
			}
		}
		s.world.effects = nil
	}
	switch w.list[0] {
	case "queue":
		s.arranged.Specs = slices.DeleteFunc(slices.Clone(s.arranged.Specs), func(spec quota.Spec) bool { return spec.Name == name })
		s.arranged.Specs = append(s.arranged.Specs, specOf(name, w))
		for _, namespace := range strings.FieldsFunc(w.keys["namespaces"], func(r rune) bool { return r == ',' }) {
			s.assign(namespace, name)
		}
		_ = s.apply(QueuesSeen{s.arranged})
	case "queue-gone":
		s.arranged.Specs = slices.DeleteFunc(slices.Clone(s.arranged.Specs), func(spec quota.Spec) bool { return spec.Name == name })
		_ = s.apply(QueuesSeen{s.arranged})
	case "move":
		s.assign(name, w.list[2])
		_ = s.apply(QueuesSeen{s.arranged})
	case "app":
		driver := split("driver " + name + " app=" + name + " cpu=" + w.keys["driver"])
		for _, key := range []string{"in", "user", "priority", "rank", "only"} {
			if w.has(key) {
				driver.keys[key] = w.keys[key]
			}
		}
		s.see(s.podOf(driver, name))
		note()
		_ = s.apply(Defined{types.UID(name), definitionOf(w)})
	case "end":
		for _, name := range w.list[1:] {
			s.end(types.UID(name))
			for _, p := range sortedPods(slices.Collect(maps.Values(s.world.pods))) {
				if p.Leader == types.UID(name) {
					s.end(p.UID)
				}
			}
		}
	case "pass":
		said, err = s.pass(name)
	case "start":
		said, err = s.start(note)
	case "queues":
		said = s.standings()
	}
	note()
	return append(said, told...), err
}

// pass lets time pass second by second and notes what users are told, and when.
func (s *script) pass(duration string) (said []string, err error) {
	d, err := time.ParseDuration(duration)
	for second := time.Second; second <= d; second += time.Second {
		s.clock = s.clock.Add(time.Second)
		effects, _ := s.Apply(s.clock, Tick{})
		for _, line := range show(effects) {
			if strings.HasPrefix(line, "tell ") || strings.HasPrefix(line, "evict ") {
				said = append(said, fmt.Sprintf("after %s: %s", second, line))
			}
		}
	}
	return said, err
}

func (s *script) assign(namespace, queue string) {
	s.arranged.Namespaces = maps.Clone(s.arranged.Namespaces)
	if s.arranged.Namespaces == nil {
		s.arranged.Namespaces = map[string]string{}
	}
	s.arranged.Namespaces[namespace] = queue
}

func (s *script) end(uid types.UID) {
	delete(s.world.pods, uid)
	delete(s.assumed, uid)
	delete(s.barred, uid)
	effects := s.world.effects
	_ = s.apply(PodGone{uid})
	s.world.effects = append(effects, s.world.effects...)
}

// start sends everybody who has no node through the Gate, tries those that pass, and whomever the ledger activates then.
func (s *script) start(note func()) (said []string, err error) {
	waiting := func() (waiting []Pod) {
		for _, p := range sortedPods(slices.Collect(maps.Values(s.world.pods))) {
			if p.Node == "" && s.assumed[p.UID] == "" {
				waiting = append(waiting, p)
			}
		}
		return waiting
	}
	var active []types.UID
	activated := func() {
		for _, effect := range s.world.effects {
			if effect, activates := effect.(Activate); activates {
				active = append(active, effect.Pod.UID)
			}
		}
		note()
	}
	for _, p := range waiting() {
		active = append(active, p.UID)
	}
	for attempts := 0; len(active) > 0; attempts++ {
		if attempts == 1000 {
			return said, errors.New("it does not come to rest")
		}
		next := max(slices.IndexFunc(active, s.first), 0)
		uid := active[next]
		active = slices.Delete(active, next, next+1)
		if p, exists := s.world.pods[uid]; !exists || p.Node != "" || s.assumed[uid] != "" {
			continue
		}
		s.world.effects = nil
		happened, err := s.try(uid, words{})
		if err != nil {
			return said, err
		}
		activated()
		if node := s.assumed[uid]; node != "" {
			said = append(said, fmt.Sprintf("%s is %s", uid, happened[0]))
		}
		for _, uid := range slices.Sorted(maps.Keys(s.assumed)) {
			if !s.barred[uid] {
				p := s.world.pods[uid]
				p.Node, p.Reservation = s.assumed[uid], s.written[uid]
				delete(s.assumed, uid)
				s.see(p)
				activated()
			}
		}
	}
	for _, p := range waiting() {
		said = append(said, fmt.Sprintf("%s waits: %s", p.UID, s.gate(p).Say(true)))
		s.world.effects = nil
	}
	return said, nil
}

// first tells whether a pod is the first of those that were let through.
func (s *script) first(uid types.UID) bool {
	trying := s.waiting.Trying()
	return len(trying) > 0 && s.members.object(trying[0].ID()).UID == uid
}

// specOf is a queue as a command says.
func specOf(name string, w words) quota.Spec {
	number := func(text string) int64 {
		n, _ := strconv.ParseInt(text, 10, 64)
		return n
	}
	maybe := func(key string) *int64 {
		if !w.has(key) {
			return nil
		}
		n := w.number(key)
		return &n
	}
	spec := quota.Spec{
		Name: name, Parent: w.keys["parent"], Weight: maybe("weight"), MaxRunningGangs: maybe("gangs"), MaxLeaderShare: maybe("leaders"),
		Order: quota.Order(w.keys["order"]), Priority: int32(w.number("priority")), State: quota.State(w.keys["state"]),
		Users:   quota.Users{MinimumShare: maybe("minimum"), MaxRunningGangs: maybe("user-gangs")},
		Reclaim: quota.Reclaim{Enabled: w.has("reclaim"), Budget: maybe("budget"), DeadZone: w.number("dead-zone"), Utilization: w.number("utilization"), Exempt: w.has("exempt"), DryRun: w.has("dry-run")},
	}
	if w.has("pool") {
		spec.NodeSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"label": w.keys["pool"]}}
	}
	spec.Reclaim.After, _ = time.ParseDuration(w.keys["after"])
	spec.Reclaim.Protect, _ = time.ParseDuration(w.keys["protect"])
	amounts := func(resourceName v1.ResourceName, unit int64) {
		guaranteed, limit, _ := strings.Cut(w.keys[string(resourceName)], "/")
		if guaranteed != "" {
			spec.Guaranteed = append(spec.Guaranteed, resource.Amount{Name: resourceName, Value: unit * number(guaranteed)})
		}
		if limit != "" {
			spec.Limit = append(spec.Limit, resource.Amount{Name: resourceName, Value: unit * number(limit)})
		}
	}
	amounts(v1.ResourceCPU, 1000)
	amounts("gpu", 1)
	if w.has("user-cpu") {
		spec.Users.Limit = quota.Amounts{{Name: v1.ResourceCPU, Value: 1000 * w.number("user-cpu")}}
	}
	return spec
}

// standings draws every queue that has anything to do.
func (s *script) standings() (lines []string) {
	standings, problems := s.Queues()
	for _, queue := range standings {
		if queue.Used.IsZero() && queue.Waiting == 0 && queue.Name == quota.Unassigned {
			continue
		}
		line := cmp.Or(queue.Name, "no queue") + ": cpu " + fmt.Sprint(queue.Used.CPU/1000)
		if gpus := queue.Used.Of("gpu"); gpus > 0 {
			line += fmt.Sprintf(" gpu %d", gpus)
		}
		if limit, limited := queue.Limit.Of(v1.ResourceCPU); limited {
			line += fmt.Sprintf(" of at most %d", limit/1000)
		}
		line += fmt.Sprintf(", %d run", queue.Gangs)
		if queue.Borrowed.CPU > 0 && len(queue.Guaranteed) > 0 {
			line += fmt.Sprintf(", cpu %d borrowed", queue.Borrowed.CPU/1000)
		}
		for _, user := range slices.Sorted(maps.Keys(queue.Users)) {
			if user != "" {
				line += fmt.Sprintf("; %s cpu %d", user, queue.Users[user].CPU/1000)
			}
		}
		for _, reason := range slices.Sorted(maps.Keys(queue.Reasons)) {
			line += fmt.Sprintf("; %d wait: %s", queue.Reasons[reason], reason)
		}
		lines = append(lines, line)
	}
	for _, p := range problems {
		lines = append(lines, p.String())
	}
	return lines
}
