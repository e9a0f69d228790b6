package yarn

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
)

// badValue is the error of a value that is none of those that are wanted.
func badValue(setting, value, want string) error {
	return fmt.Errorf("%s: %s: want %s", setting, shown(value), want)
}

// numberIn reads a number between bounds.
func numberIn(setting, text string, least, most float64) (float64, bool, error) {
	value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(value) || value < least || value > most {
		return 0, true, fmt.Errorf("%s: %s is no number from %g to %g", setting, shown(text), least, most)
	}
	return value, true, nil
}

// fill computes what hangs on the amounts of queues: limits of users, and templates.
func (r *reading) fill() error {
	for _, q := range append([]*queue{r.root}, r.root.below()...) {
		own := prefix + q.path + "."
		factor, there, err := r.number(own+"user-limit-factor", -1, math.MaxInt32)
		if err != nil {
			return err
		}
		switch {
		case there && !q.leaf():
			r.file.note(own+"user-limit-factor", Lost, "YARN reads it of queues with applications only")
		case there && factor < 0:
			r.file.note(own+"user-limit-factor", Carried, "no limit")
		case there:
			r.file.note(own+"user-limit-factor", Carried, "an amount: the limit of each user")
			for _, label := range append([]string{""}, r.labels...) {
				r.limitUsers(q, label, factor)
			}
		}
		percent, there, err := r.number(own+"minimum-user-limit-percent", 0, 100)
		if err != nil {
			return err
		}
		switch {
		case there && !q.leaf():
			r.file.note(own+"minimum-user-limit-percent", Lost, "YARN reads it of queues with applications only")
		case there && percent >= 100:
			r.file.note(own+"minimum-user-limit-percent", Carried, "users are not told apart")
		case there && q.spec.Order == v1alpha1.Fair:
			r.file.note(own+"minimum-user-limit-percent", Changed, "the order Fair has whoever holds least go first, whatever his part")
		case there:
			least := int32(max(1, math.Floor(percent)))
			q.users().MinimumShare = &least
			r.file.note(own+"minimum-user-limit-percent", Carried, "users.minimumShare: an order, and no refusal")
		}
		if q.template != nil {
			q.template.guarantee = r.inPart(q, q.template.guarantee, false)
			q.template.limit = r.inPart(q, q.template.limit, true)
			q.template.guarantee.limitedTo(q.template.limit)
		}
	}
	return nil
}

// limitUsers writes a limit of the factor times what is guaranteed.
func (r *reading) limitUsers(q *queue, label string, factor float64) {
	p := q.parts[label]
	if p == nil {
		return
	}
	c := q.at(label)
	if c.in != amounts {
		nodes := r.options.Cluster
		if label != "" {
			nodes = r.options.Labels[label]
		}
		if p.userLimit = sayPart(nodes, float64(c.part*float32(factor)), false); p.userLimit == nil {
			r.file.note(prefix+q.path+".user-limit-factor", Changed, "no limit, because nothing is guaranteed of which it would be a part")
		}
		return
	}
	p.userLimit = said{}
	for name, amount := range p.guaranteed {
		p.userLimit[name] = amountSaid{amount: share(amount.amount, factor)}
	}
}

// inPart makes amounts of a percentage of what a queue has, or may have.
func (r *reading) inPart(q *queue, given said, most bool) said {
	percent, relative := given[""]
	if !relative {
		return given
	}
	c := q.at("")
	if c.in != amounts {
		part := c.part
		if most {
			part = c.maximumPart
		}
		return sayPart(r.options.Cluster, float64(float32(percent.fraction)*part), false)
	}
	from := c.least
	if most {
		from = c.limit
	}
	return sayAmounts(from.part(percent.fraction), false)
}
