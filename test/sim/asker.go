package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/plugin"
	"retinue.dev/retinue/pkg/scaleup"
)

const (
	// sweepPeriod is how often what nobody asks for any more is taken back.
	sweepPeriod = time.Minute
	// noticePeriod is how long it may take until nothing is asked any more for whom nothing is to be asked: the ledger looks every second, and
	// says it on a goroutine that may have to wait.
	noticePeriod = 3 * time.Second
)

// asker asks for nodes in the name of one replica, as pkg/plugin/autoscaler does.
type asker struct {
	replica *replica
	limits  scaleup.Limits
	tell    func(ledger.Event)
	// serial numbers what the plugin has said, in order.
	serial int
	// wanted is what the ledger wants asked: leader -> what.
	wanted map[types.UID]ledger.ScaleUp
	// wrong is since when nothing is to be asked for a leader for whom something is asked.
	wrong map[types.UID]time.Time
}

// asks gives the plugin somebody to ask; nil where there is no autoscaler.
func (r *replica) asks() func(func(ledger.Event)) plugin.Autoscaler {
	w := r.world
	if w.cloud == nil {
		return nil
	}
	return func(tell func(ledger.Event)) plugin.Autoscaler {
		r.asker = &asker{replica: r, tell: tell, wanted: map[types.UID]ledger.ScaleUp{}, wrong: map[types.UID]time.Time{}, limits: w.cloud.limits}
		return r.asker
	}
}

// begin makes the cluster elastic for a replica that leads. There may be no asker.
func (a *asker) begin() {
	if a == nil {
		return
	}
	a.replica.call(func() { a.tell(ledger.Elastic{Limits: &a.limits}) })
	a.sweep()
}

// sweep takes back, now and then, what nobody asks for any more.
func (a *asker) sweep() {
	a.replica.world.idly(sweepPeriod, func() {
		if a.replica.stopped.Load() {
			return
		}
		for _, leader := range slices.Clone(a.replica.world.cloud.requests.keys) {
			if _, wanted := a.wanted[types.UID(leader)]; !wanted {
				a.write(types.UID(leader))
			}
		}
		a.sweep()
	})
}

// Elastic is always true: what an autoscaler says never ends it here.
func (a *asker) Elastic() bool { return true }

// Perform takes what the plugin's goroutine says.
func (a *asker) Perform(effect ledger.Effect) {
	a.serial++
	a.replica.world.desk.arrive(&call{replica: a.replica, kind: callLocal, key: fmt.Sprintf("scale-up %06d", a.serial), serve: func() error {
		switch effect := effect.(type) {
		case ledger.ScaleUp:
			a.replica.world.trace.add("%s: asks for nodes for %s", a.replica.name, keyOf(effect.Leader))
			a.replica.world.stats.ScaleUps++
			a.wanted[effect.Leader.UID] = effect
			a.checkAsked(effect)
			a.write(effect.Leader.UID)
		case ledger.ScaleUpEnded:
			a.replica.world.trace.add("%s: asks for no nodes for %s", a.replica.name, effect.Leader)
			delete(a.wanted, effect.Leader)
			a.write(effect.Leader)
		}
		return nil
	}})
}

// write makes the API server's objects of a leader what is wanted, after a while. What a dead scheduler has sent may still arrive.
func (a *asker) write(leader types.UID) {
	w := a.replica.world
	wanted, wants := a.wanted[leader]
	w.after(w.travel(callPatchPod), func() {
		switch {
		case !wants:
			w.cloud.requests.remove(string(leader))
		case w.api.pod(keyOf(wanted.Leader), leader) != nil: // else the garbage collector takes it
			w.cloud.requests.put(string(leader), &request{ScaleUp: wanted})
		}
	})
}

// hear tells the ledger what the autoscaler says. There may be no asker.
func (a *asker) hear(leader types.UID, answer scaleup.Answer) {
	if a == nil || !a.replica.leads {
		return
	}
	w := a.replica.world
	w.after(w.chance.delay(50*time.Millisecond, 5*time.Second), func() {
		if _, wanted := a.wanted[leader]; wanted && !a.replica.stopped.Load() {
			a.replica.call(func() { a.tell(ledger.ScaleUpAnswered{Leader: leader, Answer: answer}) })
		}
	})
}

// checkAsked: what is asked for is what is missing, by what the user of the application wrote: all of its executors.
func (a *asker) checkAsked(effect ledger.ScaleUp) {
	w := a.replica.world
	app := w.appOf(effect.Leader)
	if app == nil || app.driver != effect.Leader.UID || app.plan.broken || app.plan.foreign {
		return
	}
	if w.shared(app) {
		return
	}
	count := 0
	for i, pods := range effect.Pods {
		if i == 0 && w.climate.placement == v1alpha1.SingleZone { // the leader has to be where the others are
			if !pods.Requests.Equal(app.plan.driver.vector()) || pods.Count != 1 {
				w.fail("asked", "%s: instead of the driver of %s, %d pods of %s are asked for", a.replica.name, app.name, pods.Count, pods.Requests)
			}
			continue
		}
		count += pods.Count
		if !pods.Requests.Equal(app.plan.executor.vector()) {
			w.fail("asked", "%s: executors of %s are asked for with %s each, and ask for %s", a.replica.name, app.name, pods.Requests, app.plan.executor.vector())
		}
	}
	if count != app.plan.count {
		w.fail("asked", "%s: %d executors of %s are asked for, and %d are missing", a.replica.name, count, app.name, app.plan.count)
	}
}

// check: nothing is asked for whoever does not wait for nodes, and within the limits. There may be no asker.
func (a *asker) check() {
	if a == nil {
		return
	}
	r := a.replica
	w := r.world
	if len(a.wanted) > a.limits.Total {
		w.fail("asks", "%s: nodes are asked for %d gangs at a time", r.name, len(a.wanted))
	}
	waiting := map[types.UID]bool{}
	for _, g := range r.ledger.Gangs() {
		waiting[g.Leader] = g.Phase == gang.Waiting
	}
	maps.DeleteFunc(a.wrong, func(leader types.UID, _ time.Time) bool { _, wanted := a.wanted[leader]; return !wanted })
	for leader, effect := range a.wanted {
		app, why := w.appOf(effect.Leader), ""
		switch {
		case !waiting[leader]:
			why = "which does not wait"
		case app != nil && !r.allows(effect.Leader.Namespace, app.plan.asks()):
			why = "which its queue does not let in"
		default:
			delete(a.wrong, leader)
			continue
		}
		if since, known := a.wrong[leader]; !known {
			a.wrong[leader] = time.Now()
		} else if time.Since(since) > noticePeriod {
			w.fail("asks", "%s: nodes are asked for %s, %s", r.name, keyOf(effect.Leader), why)
		}
	}
}

// checkRest: at rest, of a gang that waits only those pods are a reason to buy nodes for which they are asked for. There may be no asker.
func (a *asker) checkRest() {
	if a == nil {
		return
	}
	r := a.replica
	for _, g := range r.ledger.Gangs() {
		workers := 0
		for _, role := range g.Definition.Roles {
			workers += role.Count
		}
		app := r.world.owners[g.Leader]
		if _, asked := a.wanted[g.Leader]; g.Phase != gang.Waiting || workers == 0 || asked || app == nil {
			continue
		}
		if driver := app.pod(); driver != nil && driver.UID == g.Leader && condition(driver, v1.PodScheduled).Reason == v1.PodReasonUnschedulable {
			r.world.fail("bought", "%s: at rest, %s is a reason to buy nodes, and none are asked for its executors: %s", r.name, keyOf(driver), condition(driver, v1.PodScheduled).Message)
		}
	}
}
