package yarn

import (
	"fmt"
	"math"

	v1 "k8s.io/api/core/v1"
)

// unit is in what a capacity is given. Siblings have the same.
type unit int

const (
	percents unit = iota
	weights
	amounts
)

// capacity of a queue in the nodes of one label, and what comes of it.
type capacity struct {
	in unit
	// percent and weight are as written, the percentage as a fraction of one.
	percent, weight float32
	// least and most are written as amounts; nil means that they are not.
	least, most Resources
	// maximum is the fraction of the parent's maximum.
	maximum float32

	// part and maximumPart are fractions of all nodes of the label.
	part, maximumPart float32
	// guaranteed and limit are what a ResourceManager calls effective.
	guaranteed, limit Resources

	// ratio by which the least of children are reduced; nil means by nothing.
	ratio map[v1.ResourceName]float32
	// inheritedMost is most, or what stands for it above.
	inheritedMost Resources
}

// precision to which percentages must be 100 in all.
const precision = 0.0005

// compute gives the root and all below it what a ResourceManager gives them of the nodes of a label. cluster is all nodes.
func (q *queue) compute(label string, nodes, cluster Resources, by calculator) {
	root := q.at(label)
	root.part, root.maximumPart = 1, 1
	root.guaranteed, root.limit = nodes, nodes
	root.inheritedMost = root.most
	q.divide(label, nodes, cluster, by)
}

// divide gives the children their parts. Each operation has the precision that it has there.
func (q *queue) divide(label string, nodes, cluster Resources, by calculator) {
	above := q.at(label)
	var weightsInAll float32
	leastInAll := Resources{}
	for _, child := range q.children {
		c := child.at(label)
		if c.in == weights {
			weightsInAll += c.weight
		}
		for name, amount := range c.least {
			leastInAll[name] += amount
		}
	}
	if !leastInAll.none() && by.compare(cluster, above.guaranteed, leastInAll) < 0 {
		above.ratio = map[v1.ResourceName]float32{}
		for name, amount := range leastInAll {
			if amount != 0 {
				above.ratio[name] = float32(above.guaranteed[name]) / float32(amount)
			}
		}
	}
	for _, child := range q.children {
		c := child.at(label)
		fraction := c.percent
		if c.in == weights && weightsInAll > 1e-6 {
			fraction = c.weight / weightsInAll
		}
		c.part, c.maximumPart = fraction*above.part, c.maximum*above.maximumPart
		c.guaranteed, c.limit = nodes.part(float64(c.part)), nodes.part(float64(c.maximumPart))
		if c.inheritedMost = c.most; c.in == amounts {
			c.computeAmounts(above, nodes, by)
		}
		child.divide(label, nodes, cluster, by)
	}
}

func (c *capacity) computeAmounts(above *capacity, nodes Resources, by calculator) {
	c.guaranteed = Resources{}
	for name := range nodes {
		c.guaranteed[name] = c.least[name]
	}
	for name, amount := range c.least {
		c.guaranteed[name] = amount
		if ratio, reduced := above.ratio[name]; reduced {
			c.guaranteed[name] = int64(float32(amount) * ratio)
		}
	}
	inherited := above.inheritedMost
	if inherited == nil {
		inherited = above.limit
	}
	switch {
	case c.most == nil:
		c.limit, c.inheritedMost = inherited, above.inheritedMost
	case by.compare(nodes, c.most, inherited) <= 0:
		c.limit = c.most
	default:
		c.limit = inherited
	}
}

// short tells whether the nodes of a label are too few for the amounts of the queue, of its siblings, or of one above it.
func (q *queue) short(label string) bool {
	for ; q.parent != nil; q = q.parent {
		above, asked := q.parent.at(label), Resources{}
		for _, sibling := range q.parent.children {
			for name, amount := range sibling.at(label).least {
				asked[name] += amount
			}
		}
		for name, amount := range asked {
			if amount > above.guaranteed[name] {
				return true
			}
		}
		for name, amount := range q.at(label).most {
			if amount > above.limit[name] {
				return true
			}
		}
	}
	return false
}

// check refuses what a ResourceManager refuses of the capacities of siblings.
func (q *queue) check(label string) error {
	if len(q.children) == 0 {
		return nil
	}
	used := map[unit]*queue{}
	var percent float32
	for _, child := range q.children {
		c := child.at(label)
		if c.in != percents || c.percent > 0 {
			used[c.in] = child
		}
		percent += c.percent
	}
	of := ""
	if label != "" {
		of = " in the nodes with label " + label
	}
	if len(used) > 1 {
		return fmt.Errorf("%s: its queues mix percentages, weights and absolute amounts%s: %s", q.path, of, mixed(used))
	}
	own := q.at(label)
	switch {
	case len(used) == 1 && used[amounts] != nil && q.parent != nil && own.in != amounts:
		return fmt.Errorf("%s: its queues have absolute amounts%s, and itself has none", q.path, of)
	case len(used) == 1 && used[amounts] == nil && own.in == amounts:
		return fmt.Errorf("%s: it has an absolute amount%s, and its queues have none", q.path, of)
	case len(used) == 1 && used[percents] != nil && math.Abs(1-float64(percent)) > precision:
		return fmt.Errorf("%s: the capacities of its queues are %s%% in all%s, not 100%%", q.path, percentage(float64(percent), false), of)
	case len(used) == 0 && own.in == percents && own.percent > precision && !q.zeroAllowed && label == "":
		return fmt.Errorf("%s: the capacities of its queues are 0%% in all%s, not 100%%", q.path, of)
	}
	return nil
}

func mixed(used map[unit]*queue) string {
	text := ""
	for _, u := range []unit{percents, weights, amounts} {
		if q := used[u]; q != nil {
			if text != "" {
				text += ", "
			}
			text += q.path + [...]string{" has a percentage", " has a weight", " has an amount"}[u]
		}
	}
	return text
}
