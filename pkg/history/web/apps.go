package web

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"retinue.dev/retinue/pkg/history/store"
)

// Amounts of resources by name. The names that YARN has for two of them stand beside.
type Amounts map[string]int64

// Application as it is told. Times are RFC 3339 in UTC; what has not happened is left out.
type Application struct {
	Namespace      string `json:"namespace"`
	ID             string `json:"id"` // with the namespace its address
	Name           string `json:"name"`
	Kind           string `json:"kind"`
	Owner          string `json:"owner,omitempty"`
	User           string `json:"user"`
	IdentitySource string `json:"identitySource"`
	Queue          string `json:"queue,omitempty"`
	Priority       int64  `json:"priority"`
	State          string `json:"state"`
	Result         string `json:"finalStatus,omitempty"`
	Reason         string `json:"reason,omitempty"`
	Message        string `json:"message,omitempty"`
	Submitted      string `json:"submitted"`
	Started        string `json:"started,omitempty"`
	Finished       string `json:"finished,omitempty"`
	WaitSeconds    int64  `json:"waitSeconds"`
	RunSeconds     int64  `json:"runSeconds"`
	Pods           int64  `json:"pods"`
	Running        int64  `json:"runningPods"`
}

// Applications is one page of them.
type Applications struct {
	Items []Application `json:"items"`
	// Next is what to ask for as page to get those after; empty means that there are none.
	Next string `json:"next,omitempty"`
}

// Story is one application with all its pods.
type Story struct {
	Application
	Waits         []Wait  `json:"waits"`
	Items         []Pod   `json:"items"`
	MemorySeconds int64   `json:"memorySeconds"` // MiB
	VcoreSeconds  int64   `json:"vcoreSeconds"`
	Used          Amounts `json:"resourceSeconds"`
	Lost          Amounts `json:"lostResourceSeconds"`
	// Uncertain is how many ms of pods' times are not known.
	Uncertain int64 `json:"uncertainMilliseconds"`
}

// Wait is why it waited, from when on.
type Wait struct {
	Since   string `json:"since"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Pod of an application.
type Pod struct {
	Name      string  `json:"name"`
	Role      string  `json:"role,omitempty"`
	Node      string  `json:"node"`
	Class     string  `json:"class,omitempty"`
	Start     string  `json:"start"`
	End       string  `json:"end,omitempty"`
	Rank      int     `json:"endRank,omitempty"`
	Uncertain int64   `json:"uncertainMilliseconds,omitempty"`
	Reason    string  `json:"reason,omitempty"`
	Lost      bool    `json:"lost,omitempty"`
	Used      Amounts `json:"resourceSeconds"`

	begin, end int64
}

func timestamp(ms int64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).UTC().Format(time.RFC3339)
}

// told is an application as it is told at a time.
func told(listed *store.Listed, now int64) Application {
	_, id, _ := strings.Cut(listed.Key, "/")
	a := Application{
		Namespace: listed.Namespace, ID: id, Name: listed.Name, Kind: listed.Kind, Owner: listed.Owner, User: listed.User,
		IdentitySource: listed.Source, Queue: listed.Queue, Priority: listed.Priority, State: listed.State(), Result: listed.End.Reason,
		Submitted: timestamp(listed.Submitted), Started: timestamp(listed.Bound), Finished: timestamp(listed.Ended()), Pods: listed.Pods, Running: listed.Running,
	}
	started, ended := cmp.Or(listed.Bound, listed.Ended(), now), cmp.Or(listed.Ended(), now)
	a.WaitSeconds = max(0, started-listed.Submitted) / 1000
	if listed.Bound > 0 {
		a.RunSeconds = max(0, ended-listed.Bound) / 1000
	}
	if a.State == store.StateWaiting {
		a.Reason, a.Message = listed.Last.Reason, listed.Last.Message
	}
	return a
}

// apps are a page of applications: namespace (any number), queue, user, name, state, limit, page.
func (s *Site) apps(in *http.Request, viewer Viewer) (any, error) {
	named, err := namespaces(in, viewer)
	if err != nil {
		return nil, err
	}
	query := in.URL.Query()
	filter := store.Filter{Namespaces: named, Queue: query.Get("queue"), User: query.Get("user"), Name: query.Get("name"), State: query.Get("state"), Limit: 100}
	if !slices.Contains([]string{"", store.StateWaiting, store.StateRunning, store.StateFinished}, filter.State) {
		return nil, refused(http.StatusBadRequest, "state is Waiting, Running or Finished")
	}
	if text := query.Get("limit"); text != "" {
		if filter.Limit, err = strconv.Atoi(text); err != nil || filter.Limit < 1 || filter.Limit > store.MaxPage {
			return nil, refused(http.StatusBadRequest, "limit is a number from 1 to 1000")
		}
	}
	if text := query.Get("page"); text != "" {
		at, key, ok := strings.Cut(text, ",")
		if filter.Before.Submitted, err = strconv.ParseInt(at, 10, 64); err != nil || !ok {
			return nil, refused(http.StatusBadRequest, "page is what the answer before said was next")
		}
		filter.Before.Key = key
	}
	listed, err := s.outside.Store.Applications(in.Context(), filter)
	if err != nil {
		return nil, err
	}
	page := Applications{Items: []Application{}}
	for i := range listed {
		page.Items = append(page.Items, told(&listed[i], s.now()))
	}
	if n := len(listed); n == filter.Limit {
		page.Next = strconv.FormatInt(listed[n-1].Submitted, 10) + "," + listed[n-1].Key
	}
	return page, nil
}

// app is one application.
func (s *Site) app(in *http.Request, viewer Viewer) (any, error) {
	namespace := in.PathValue("namespace")
	may, err := viewer.May(in.Context(), namespace)
	if err != nil {
		return nil, err
	}
	if !may {
		return nil, store.ErrNone // whether there is one is not his business
	}
	found, err := s.outside.Store.Story(in.Context(), namespace+"/"+in.PathValue("name"))
	if err != nil {
		return nil, err
	}
	now := s.now()
	story := Story{Application: told(&found.Listed, now), Waits: []Wait{}, Items: []Pod{}, Used: Amounts{}, Lost: Amounts{}}
	for _, wait := range found.Waits {
		story.Waits = append(story.Waits, Wait{timestamp(wait.At), wait.Reason, wait.Message})
	}
	for i := range found.Spans {
		span := &found.Spans[i]
		pod := Pod{Name: span.Name, Role: span.Role, Node: span.Node, Class: span.Class, Start: timestamp(span.Start.At), Lost: span.Lost, Used: span.Used(now), begin: span.Start.At, end: now}
		if ended, over := span.Ended(); over {
			pod.end, pod.End, pod.Rank, pod.Uncertain, pod.Reason = ended, timestamp(ended), span.End.Rank, span.End.Uncertainty, span.End.Reason
			story.Uncertain += pod.Uncertain
		}
		add(story.Used, pod.Used)
		if span.Lost {
			add(story.Lost, pod.Used)
		}
		story.Items = append(story.Items, pod)
	}
	story.VcoreSeconds, story.MemorySeconds = story.Used[store.CPU]/1000, story.Used[store.Memory]
	return story, nil
}

func add(to, of Amounts) {
	for resource, amount := range of {
		if to[resource] += amount; to[resource] < 0 {
			to[resource] = 1<<63 - 1
		}
	}
}

// Queues is how all of them stand now.
type Queues struct {
	Items    []Queue `json:"items"`
	Held     Amounts `json:"held"`               // by all pods that are told of
	Capacity Amounts `json:"capacity,omitempty"` // what nodes offer, for those who may see all
}

// Queue is how one stands, by the namespaces that are told of.
type Queue struct {
	Name       string           `json:"name"` // empty means none
	Namespaces []string         `json:"namespaces"`
	Running    int64            `json:"runningApplications"`
	Waiting    int64            `json:"waitingApplications"`
	Reasons    map[string]int64 `json:"waitingByReason"`
	Pods       int64            `json:"pods"`
	Held       Amounts          `json:"held"`
}

// queues are how the queues stand.
func (s *Site) queues(in *http.Request, viewer Viewer) (any, error) {
	named, err := namespaces(in, viewer)
	if err != nil {
		return nil, err
	}
	standings, err := s.standing(in.Context())
	if err != nil {
		return nil, err
	}
	all := Queues{Items: []Queue{}, Held: Amounts{}}
	found := map[string]*Queue{}
	for _, standing := range standings {
		if standing.Namespace == "" {
			if named == nil {
				all.Capacity = standing.Held
			}
			continue
		}
		if named != nil && !slices.Contains(named, standing.Namespace) {
			continue
		}
		queue := found[standing.Queue]
		if queue == nil {
			queue = &Queue{Name: standing.Queue, Reasons: map[string]int64{}, Held: Amounts{}}
			found[standing.Queue] = queue
		}
		queue.Namespaces = append(queue.Namespaces, standing.Namespace)
		queue.Running += standing.Running
		queue.Pods += standing.Pods
		for reason, n := range standing.Waiting {
			queue.Reasons[cmp.Or(reason, "Unknown")] += n
			queue.Waiting += n
		}
		add(queue.Held, standing.Held)
		add(all.Held, standing.Held)
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		slices.Sort(found[name].Namespaces)
		all.Items = append(all.Items, *found[name])
	}
	return all, nil
}

// standing is how all queues stand, or stood some seconds ago.
func (s *Site) standing(ctx context.Context) ([]store.Standing, error) {
	s.mu.Lock()
	defer s.mu.Unlock() // others wait for the same answer
	if s.standings != nil && s.outside.Clock.Since(s.counted) < standingsAge {
		return s.standings, nil
	}
	standings, err := s.outside.Store.Standings(ctx)
	if err == nil {
		s.standings, s.counted = standings, s.outside.Clock.Now()
	}
	return standings, err
}
