package store

import (
	"context"
	"strings"
)

// Observations are what was seen, in any order.
type Observations struct {
	Spans        map[string]Span        // by UID
	Applications map[string]Application // by Key
	Waits        map[string][]Wait      // Application.Key -> what was said of its waiting
}

// maxText bounds what is kept of a text that somebody wrote, in bytes.
const maxText = 1024

// Apply merges observations into what is known, and corrects the sums where they change. It does all of it or nothing.
func (s *Store) Apply(ctx context.Context, seen Observations) error {
	if len(seen.Spans)+len(seen.Applications)+len(seen.Waits) == 0 {
		return nil
	}
	return s.write(ctx, func(tx *transaction) error {
		c := change{tx: tx, epoch: tx.state(stateEpoch), horizon: tx.state(stateHorizon), deltas: cells{}}
		c.purged = tx.state(statePurged)
		c.applications(seen.Applications)
		c.spans(seen.Spans)
		tx.addWaits(seen.Waits)
		tx.addCells(c.deltas)
		return tx.err
	})
}

// change is one transaction that merges.
type change struct {
	tx                     *transaction
	epoch, horizon, purged int64
	// before and now are the identities of the leaders of the applications that are touched: Application.Key -> identity. An
	// application whose leader nobody has seen has none.
	before, now map[string]Identity
	deltas      cells
}

// applications merges those that were seen.
func (c *change) applications(seen map[string]Application) {
	known := c.tx.applications(keys(seen))
	c.before, c.now = leaders(known), map[string]Identity{}
	var changed []Application
	for _, key := range keys(seen) {
		was := known[key]
		is := was.Merge(clean(seen[key]))
		if is != was {
			changed = append(changed, is)
		}
		known[key] = is
	}
	c.now = leaders(known)
	c.tx.putApplications(changed)
}

func leaders(applications map[string]Application) map[string]Identity {
	found := map[string]Identity{}
	for key, application := range applications {
		if application.Led() {
			found[key] = application.Identity
		}
	}
	return found
}

// spans merges those that were seen, and counts those anew whose application has become another user's.
func (c *change) spans(seen map[string]Span) {
	var moved []string
	for key, identity := range c.now {
		if was, led := c.before[key]; !led || was != identity {
			moved = append(moved, key)
		}
	}
	known := c.tx.spansOf(moved)
	c.tx.spans(known, keys(seen))
	c.identify(known, seen)
	var changed []Span
	for uid, was := range known { // those of applications that moved, and those that were seen before
		is := was
		if observed, ok := seen[uid]; ok {
			is = was.Merge(cleanSpan(observed))
		}
		if !is.equal(&was) {
			changed = append(changed, is)
		}
		c.count(&was, &is)
	}
	for uid, observed := range seen {
		if _, ok := known[uid]; ok {
			continue
		}
		is := Span{}.Merge(cleanSpan(observed))
		if ended, over := is.Ended(); over && ended <= c.purged || is.Start.Rank == 0 {
			continue // it has been counted, and forgotten
		}
		changed = append(changed, is)
		c.count(&Span{}, &is)
	}
	c.tx.putSpans(changed)
}

// identify finds the leaders of those applications that are not known yet.
func (c *change) identify(known, seen map[string]Span) {
	missing := map[string]bool{}
	note := func(key string) {
		if key != "" {
			missing[key] = true
		}
	}
	for _, span := range known {
		note(span.Application)
	}
	for _, span := range seen {
		note(span.Application)
	}
	for key := range c.now {
		delete(missing, key)
	}
	for key, identity := range leaders(c.tx.applications(keys(missing))) {
		if _, ok := c.now[key]; !ok {
			c.before[key], c.now[key] = identity, identity
		}
	}
}

// count takes what a span had contributed out of the sums and adds what it contributes now.
func (c *change) count(was, is *Span) {
	before, now := whose(was, c.before), whose(is, c.now)
	from := c.epoch
	if before == now && was.Start == is.Start && was.Description == is.Description && was.Lost == is.Lost && sameSegments(was.Segments, is.Segments) {
		// Only the end may have moved: what was used until the earlier one stays.
		a, b := c.horizon, c.horizon
		if ended, ok := was.Ended(); ok {
			a = min(a, ended)
		}
		if ended, ok := is.Ended(); ok {
			b = min(b, ended)
		}
		if a == b {
			return
		}
		from = max(from, min(a, b))
	}
	was.cut(c.deltas, before, from, c.horizon, -1)
	is.cut(c.deltas, now, from, c.horizon, 1)
}

// whose a span is: its application's leader's word counts, else its own.
func whose(span *Span, leaders map[string]Identity) Identity {
	if identity, led := leaders[span.Application]; led && span.Application != "" {
		return identity
	}
	return span.Identity
}

// clean makes texts fit for any database, and short.
func clean(a Application) Application {
	for _, text := range []*string{&a.Key, &a.Namespace, &a.Name, &a.ID, &a.Kind, &a.Owner, &a.Queue, &a.User, &a.Source, &a.End.Reason, &a.Last.Reason, &a.Last.Message} {
		*text = cleanText(*text)
	}
	return a
}

func cleanSpan(s Span) Span {
	for _, text := range []*string{&s.UID, &s.Application, &s.Namespace, &s.Name, &s.Role, &s.Node, &s.Class, &s.Queue, &s.User, &s.Source, &s.End.Reason} {
		*text = cleanText(*text)
	}
	return s
}

// cleanText cuts a text and takes out what PostgreSQL does not store.
func cleanText(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text[:min(len(text), maxText)], ""), "\x00", "")
}
