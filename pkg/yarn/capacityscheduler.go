package yarn

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	prefix      = "yarn.scheduler.capacity."
	labelsInfix = "accessible-node-labels."
)

// capacityScheduler reads a capacity-scheduler.xml.
func (r *reading) capacityScheduler(root *element) error {
	var err error
	if r.file, err = properties(root); err != nil {
		return err
	}
	r.unknown = "nobody knows it here: misspelt, of a queue that no .queues names, or of a newer YARN"
	r.root = &queue{name: "root", path: "root"}
	if _, named := r.file.values[prefix+"root.queues"]; !named {
		return fmt.Errorf("%sroot.queues: it is missing, so that there are no queues", prefix)
	}
	count := 0
	if err := r.grow(r.root, 1, &count); err != nil {
		return err
	}
	if err := r.capacities(); err != nil {
		return err
	}
	r.names = names(r.root.below())
	for _, step := range []func() error{r.global, r.perQueue, r.divide, r.fill, r.queueMappings, r.reclaim} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// grow reads the names of queues.
func (r *reading) grow(q *queue, depth int, count *int) error {
	property := prefix + q.path + ".queues"
	text, named := r.file.values[property]
	if !named {
		return nil
	}
	seen := map[string]bool{}
	for _, name := range listOf(text) {
		switch *count++; {
		case strings.ContainsAny(name, ". \t"):
			return fmt.Errorf("%s: %s is no name of a queue", property, shown(name))
		case seen[name]:
			return fmt.Errorf("%s: %s is there twice", property, shown(name))
		case *count > maxQueues:
			return fmt.Errorf("%s: more than %d queues", property, maxQueues)
		case depth >= maxQueueDepth:
			return fmt.Errorf("%s: %s is deeper than %d queues", property, shown(name), maxQueueDepth)
		}
		seen[name] = true
		child := &queue{name: name, path: q.path + "." + name, parent: q}
		q.children = append(q.children, child)
		if err := r.grow(child, depth+1, count); err != nil {
			return err
		}
	}
	r.file.note(property, Carried, "")
	return nil
}

// number of a property, between bounds.
func (r *reading) number(property string, least, most float64) (value float64, there bool, err error) {
	text, there := r.file.values[property]
	if !there {
		return 0, false, nil
	}
	value, err = strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(value) || value < least || value > most {
		return 0, true, fmt.Errorf("%s: %s is no number from %g to %g", property, shown(text), least, most)
	}
	return value, true, nil
}

// whole number of a property.
func (r *reading) whole(property string) (value int32, there bool, err error) {
	number, there, err := r.number(property, -1, math.MaxInt32)
	if err == nil && there && number != math.Trunc(number) {
		return 0, true, fmt.Errorf("%s: %s is no whole number", property, shown(r.file.values[property]))
	}
	return int32(number), there, err
}

// truth of a property.
func (r *reading) truth(property string) (value, there bool, err error) {
	text, there := r.file.values[property]
	if !there {
		return false, false, nil
	}
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true":
		return true, true, nil
	case "false":
		return false, true, nil
	}
	return false, true, fmt.Errorf("%s: %s is neither true nor false", property, shown(text))
}

var weight = regexp.MustCompile(`^(\d+(?:\.\d+)?)w$`)

// capacities reads what every queue has, and checks it as a ResourceManager does.
func (r *reading) capacities() error {
	labels := map[string]bool{}
	for _, name := range r.file.order {
		rest, found := strings.CutPrefix(name, prefix)
		at := strings.Index(rest, "."+labelsInfix)
		if !found || at < 0 {
			continue
		}
		for _, end := range []string{".capacity", ".maximum-capacity"} {
			if label, found := strings.CutSuffix(rest[at+len(labelsInfix)+1:], end); found && label != "" && !strings.Contains(label, ".") {
				labels[label] = true
			}
		}
	}
	r.labels = slices.Sorted(maps.Keys(labels))
	var failed error
	r.root.each(func(q *queue) {
		if failed != nil {
			return
		}
		own := prefix + q.path + "."
		if q.zeroAllowed, _, failed = r.truth(own + "allow-zero-capacity-sum"); failed != nil {
			return
		}
		r.file.note(own+"allow-zero-capacity-sum", Carried, "nothing has to add up here")
		for _, label := range append([]string{""}, r.labels...) {
			at := own
			if label != "" {
				at = own + labelsInfix + label + "."
			}
			if failed = r.capacity(q, label, at); failed != nil {
				return
			}
		}
	})
	if failed != nil {
		return failed
	}
	for _, label := range append([]string{""}, r.labels...) {
		for _, q := range append([]*queue{r.root}, r.root.below()...) {
			if err := q.check(label); err != nil {
				return err
			}
		}
	}
	return nil
}

// capacity reads what one queue has of the nodes of a label.
func (r *reading) capacity(q *queue, label, at string) error {
	c := q.at(label)
	property := at + "capacity"
	text := strings.TrimSpace(r.file.values[property])
	match := weight.FindStringSubmatch(text)
	switch {
	case q.parent == nil:
		c.percent = 1
		if value, there, err := r.number(property, 100, 100); err != nil && !absolute.MatchString(text) && match == nil {
			return err
		} else if there && value != 100 {
			r.file.note(property, Lost, "the root has what the cluster has")
		} else {
			r.file.note(property, Carried, "")
		}
	case text == "":
	case absolute.MatchString(text):
		c.in = amounts
		least, strange, err := parseAbsolute(text)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", property, shown(text), err)
		}
		c.least = least
		r.strange(property, strange)
	case match != nil:
		value, err := strconv.ParseFloat(match[1], 32)
		if err != nil {
			return fmt.Errorf("%s: %s is no weight", property, shown(text))
		}
		c.in, c.weight = weights, float32(value)
	default:
		value, err := strconv.ParseFloat(text, 32)
		if err != nil || math.IsNaN(value) || value < 0 || value > 100 {
			return fmt.Errorf("%s: %s is neither a percentage from 0 to 100, nor a weight such as 3w, nor an amount such as [memory=10240,vcores=12]", property, shown(text))
		}
		c.percent = float32(value) / 100
	}
	property = at + "maximum-capacity"
	text = strings.TrimSpace(r.file.values[property])
	switch {
	case text == "" || text == "-1" || text == "-1.0":
	case absolute.MatchString(text):
		most, strange, err := parseAbsolute(text)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", property, shown(text), err)
		}
		if !most.none() {
			c.most = most
		}
		r.strange(property, strange)
	default:
		value, err := strconv.ParseFloat(text, 32)
		if err != nil || math.IsNaN(value) || value < 0 || value > 100 {
			return fmt.Errorf("%s: %s is neither a percentage from 0 to 100, nor -1, nor an amount such as [memory=10240,vcores=12]", property, shown(text))
		}
		c.maximum = float32(value) / 100
	}
	return nil
}

func (r *reading) strange(property string, names []string) {
	if len(names) > 0 {
		r.file.note(property, Changed, "without %s, for which Kubernetes has no resource of that name", strings.Join(names, ", "))
	}
}

// divide computes the amounts and writes them into the queues.
func (r *reading) divide() error {
	by, err := r.calculator()
	if err != nil {
		return err
	}
	cluster := r.options.Cluster
	everything := maps.Clone(cluster)
	for _, nodes := range r.options.Labels {
		for name, amount := range nodes {
			if everything == nil {
				everything = Resources{}
			}
			everything[name] += amount
		}
	}
	var kept []string
	for _, label := range append([]string{""}, r.labels...) {
		nodes := cluster
		if label != "" {
			nodes = r.options.Labels[label]
		}
		if nodes == nil && label != "" {
			r.loseLabel(label)
			continue
		}
		if nodes == nil {
			if property := r.relative(); property != "" {
				return fmt.Errorf("%s: %s: %w", property, shown(r.file.values[property]), errNoCluster)
			}
			nodes = Resources{}
		}
		r.root.compute(label, nodes, everything, by)
		for _, q := range r.root.below() {
			r.write(q, label, nodes)
		}
		if label != "" {
			kept = append(kept, label)
		}
	}
	r.labels = kept
	for _, label := range append([]string{""}, kept...) {
		r.file.note(prefix+"root."+at(label)+"maximum-capacity", Carried, "")
		if c := r.root.at(label); c.maximum != 1 || c.most != nil {
			r.file.note(prefix+"root."+at(label)+"maximum-capacity", Lost, "the root has what the cluster has")
		}
	}
	return nil
}

// at is what stands before capacity in the name of a property.
func at(label string) string {
	if label == "" {
		return ""
	}
	return labelsInfix + label + "."
}

// relative is a property that says nothing without the size of the cluster.
func (r *reading) relative() (property string) {
	for _, q := range r.root.below() {
		c := q.at("")
		for name, is := range map[string]bool{"capacity": c.in != amounts && (c.percent > 0 || c.weight > 0), "maximum-capacity": c.in != amounts && c.maximum != 1} {
			if is && (property == "" || prefix+q.path+"."+name < property) {
				property = prefix + q.path + "." + name
			}
		}
	}
	return property
}

func (r *reading) loseLabel(label string) {
	for _, q := range append([]*queue{r.root}, r.root.below()...) {
		for _, property := range []string{"capacity", "maximum-capacity"} {
			r.file.note(prefix+q.path+"."+at(label)+property, Lost,
				"how much the nodes with label %s have is not known: give it, as in --label-resources %s:cpu=100,memory=400Gi, and it becomes a pool", label, label)
		}
	}
}

// write says what a queue has of the nodes of a label. What equals that of the parent is not written.
func (r *reading) write(q *queue, label string, nodes Resources) {
	c := q.at(label)
	own := prefix + q.path + "." + at(label)
	if label != "" && c.part == 0 && c.least == nil {
		r.file.note(own+"capacity", Carried, "nothing of it")
		r.file.note(own+"maximum-capacity", Changed, "a queue without a capacity has no part of a pool")
		return
	}
	p := q.part(label)
	if label != "" {
		r.file.note(own+"capacity", Changed, "a part of the pool of nodes with %s=%s, for a queue and a namespace of its own: %s", r.options.LabelKey, label, r.named(q, label))
		r.file.note(own+"maximum-capacity", Changed, "the limit of queue %s", r.named(q, label))
	}
	switch {
	case c.in == amounts:
		p.guaranteed = sayAmounts(c.least, false)
		for name := range p.guaranteed {
			if _, there := nodes[name]; len(nodes) > 0 && !there {
				r.file.note(own+"capacity", Changed, "%s stands in no size that was given", name)
			}
		}
		r.writeMost(own, q, c, p, nodes)
		if len(nodes) > 0 && q.short(label) {
			r.file.note(own+"capacity", Changed, "as written, and more than the cluster has: until it has more, Retinue reduces each resource that is short by itself, and YARN all of them together")
		}
	default:
		p.guaranteed = sayPart(nodes, float64(c.part), false)
		if c.most != nil {
			r.file.note(own+"maximum-capacity", Lost, "YARN takes no amount beside a capacity that is none either")
		}
		if c.maximum != 1 {
			p.limit = sayPart(nodes, float64(c.maximumPart), false)
			if c.maximumPart == 0 {
				p.limit = sayAmounts(nodes.part(0), true)
			}
			r.file.note(own+"maximum-capacity", Carried, "")
		} else {
			r.file.note(own+"maximum-capacity", Carried, "all that the queue above may have, for which no limit is written")
		}
	}
	switch {
	case c.in == weights:
		r.file.note(own+"capacity", Carried, "a weight, and its part of the cluster is written as a guarantee")
	default:
		r.file.note(own+"capacity", Carried, "")
	}
	if p.guaranteed.limitedTo(p.limit) {
		r.file.note(own+"capacity", Changed, "reduced to maximum-capacity: nothing beyond a limit is guaranteed")
	}
	if label == "" {
		q.spec.Weight = r.weigh(q, nodes)
	}
}

func (r *reading) writeMost(own string, q *queue, c *capacity, p *part, nodes Resources) {
	property := own + "maximum-capacity"
	if c.maximum != 1 {
		r.file.note(property, Lost, "YARN takes no percentage beside a capacity that is an amount either")
	}
	if c.most == nil {
		r.file.note(property, Carried, "")
		return
	}
	p.limit = sayAmounts(c.most, true)
	r.file.note(property, Carried, "")
	for name := range nodes {
		if _, said := c.most[name]; said {
			continue
		}
		if r.dominant() {
			p.limit[name] = amountSaid{}
			r.file.note(property, Changed, "what it does not name, %s, is limited to zero, as in YARN", name)
		} else {
			r.file.note(property, Changed, "%s, which it does not name, is not limited", name)
		}
	}
}

// weigh is the weight among siblings: their percentages, or their weights made whole.
func (r *reading) weigh(q *queue, nodes Resources) *int32 {
	c := q.at("")
	value := int32(1)
	switch c.in {
	case percents:
		value = int32(math.Round(float64(c.percent) * 100))
		if value == 0 && c.percent > 0 {
			value = 1
		}
	case weights:
		scale := 1.0
		for scale < 1000 && !slices.ContainsFunc(q.parent.children, func(s *queue) bool { return float64(s.at("").weight)*1000 > maxWeight }) &&
			slices.ContainsFunc(q.parent.children, func(s *queue) bool {
				scaled := float64(s.at("").weight) * scale
				return math.Abs(scaled-math.Round(scaled)) > 1e-4
			}) {
			scale *= 10
		}
		value = int32(min(math.Round(float64(c.weight)*scale), maxWeight))
		if value == 0 && c.weight > 0 {
			value = 1
		}
	case amounts:
		if len(nodes) == 0 {
			return nil
		}
		value = weightOf(c.least, nodes)
	}
	if value == 1 {
		return nil
	}
	return &value
}

const resourceCalculator = prefix + "resource-calculator"

// dominant tells whether all resources count.
func (r *reading) dominant() bool {
	return strings.HasSuffix(strings.TrimSpace(r.file.values[resourceCalculator]), ".DominantResourceCalculator")
}

func (r *reading) calculator() (calculator, error) {
	text, there := r.file.values[resourceCalculator]
	switch {
	case !there:
		r.file.remark("YARN counts memory only unless a resource-calculator says otherwise; here every resource counts, cpu as well")
	case r.dominant():
		r.file.note(resourceCalculator, Carried, "always so here")
	case strings.HasSuffix(strings.TrimSpace(text), ".DefaultResourceCalculator"):
		r.file.note(resourceCalculator, Changed, "it counts memory only; here every resource counts, cpu as well")
	default:
		r.file.note(resourceCalculator, Lost, "every resource counts here")
	}
	return calculator{dominant: r.dominant()}, nil
}
