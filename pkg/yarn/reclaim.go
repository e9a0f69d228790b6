package yarn

import (
	"math"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
)

const (
	monitorEnabled = "yarn.resourcemanager.scheduler.monitor.enable"
	monitorPolices = "yarn.resourcemanager.scheduler.monitor.policies"
	preemption     = "yarn.resourcemanager.monitor.capacity.preemption."
)

// lostOfPreemption are settings of YARN's preemption that have no place here, with the reason.
var lostOfPreemption = map[string]string{
	"monitoring_interval":                                                    "it is looked every second",
	"natural_termination_factor":                                             "what is leaving already counts as free",
	"select_based_on_reserved_containers":                                    "the room that comes free is kept for whom it was freed",
	"preemption-to-balance-queue-after-satisfied.enabled":                    "only guarantees are taken back; shares even out as applications end",
	"preemption-to-balance-queue-after-satisfied.max-wait-before-kill":       "only guarantees are taken back; shares even out as applications end",
	"additional_res_balance_based_on_reserved_containers":                    "the room that comes free is kept for whom it was freed",
	"intra-queue-preemption.enabled":                                         "within a queue a higher PriorityClass takes the place of a lower one, always",
	"intra-queue-preemption.preemption-order-policy":                         "within a queue the PriorityClass decides; users' shares decide who is next, and take nothing",
	"intra-queue-preemption.minimum-threshold":                               "within a queue a higher PriorityClass takes the place of a lower one, always",
	"intra-queue-preemption.max-allowable-limit":                             "within a queue a higher PriorityClass takes the place of a lower one, always",
	"intra-queue-preemption.disable_preemption":                              "a PriorityClass with preemptionPolicy: Never takes no one's place",
	"cross-queue-preemption.conservative-drf":                                "nothing is taken unless the gang fits then",
	"intra-queue-preemption.conservative-drf":                                "nothing is taken unless the gang fits then",
	"inter-queue-preemption.conservative-drf":                                "nothing is taken unless the gang fits then",
	"scheduler.monitor.capacity.preemption.max-allowable-reserved-container": "the room that comes free is kept for whom it was freed",
}

// reclaim reads whether and how queues take back what is theirs. The settings are those of yarn-site.xml, and some have them here.
func (r *reading) reclaim() error {
	from := r.file
	if _, here := from.values[monitorEnabled]; !here && r.site != nil {
		from = r.site
	}
	reading := reading{file: from}
	enabled, there, err := reading.truth(monitorEnabled)
	if err != nil {
		return err
	}
	policies, other := from.values[monitorPolices]
	if other && !strings.Contains(policies, "ProportionalCapacityPreemptionPolicy") {
		enabled = false
	}
	how, err := reading.preemption()
	if err != nil {
		return err
	}
	switch {
	case enabled:
		from.note(monitorEnabled, Carried, "reclaim.enabled of every queue with a guarantee")
	case there:
		from.note(monitorEnabled, Carried, "")
	case r.site == nil:
		r.file.remark("whether queues take back what is theirs says yarn-site.xml, which was not given: here none does, and what others have borrowed comes back when their applications end")
	default:
		r.file.remark("%s is not set, so that YARN takes nothing back, and neither do queues here", monitorEnabled)
	}
	from.note(monitorPolices, Carried, "")
	if !enabled {
		for name := range from.values {
			if strings.HasPrefix(name, preemption) {
				from.note(name, Changed, "nothing is taken back")
			}
		}
		return nil
	}
	for _, q := range r.root.below() {
		exempt := q.exempt()
		for _, p := range q.parts {
			if len(p.guaranteed) > 0 {
				q.spec.Reclaim = how.DeepCopy()
				q.spec.Reclaim.Exempt = exempt
			}
		}
	}
	return nil
}

// preemption reads how it is done, of a file that may not have it.
func (r *reading) preemption() (*v1alpha1.QueueReclaim, error) {
	how := &v1alpha1.QueueReclaim{Enabled: true}
	if observe, there, err := r.truth(preemption + "observe_only"); err != nil {
		return nil, err
	} else if there {
		how.DryRun = observe
		r.file.note(preemption+"observe_only", Carried, "reclaim.dryRun")
	}
	if wait, there, err := r.number(preemption+"max_wait_before_kill", 0, math.MaxInt32); err != nil {
		return nil, err
	} else if there {
		how.Grace = &metav1.Duration{Duration: time.Duration(wait) * time.Millisecond}
		r.file.note(preemption+"max_wait_before_kill", Carried, "reclaim.grace")
	}
	if part, there, err := r.number(preemption+"total_preemption_per_round", 0, 1); err != nil {
		return nil, err
	} else if there {
		percent := int32(max(1, math.Round(part*100)))
		how.Budget = &percent
		r.file.note(preemption+"total_preemption_per_round", Changed, "reclaim.budget: a percentage of the guarantee of the queue that takes back, and not of the cluster")
	}
	if zone, there, err := r.number(preemption+"max_ignored_over_capacity", 0, 10); err != nil {
		return nil, err
	} else if there {
		percent := int32(math.Round(zone * 100))
		how.DeadZone = &percent
		r.file.note(preemption+"max_ignored_over_capacity", Carried, "reclaim.deadZone")
	}
	for end, why := range lostOfPreemption {
		r.file.note(preemption+end, Lost, "%s", why)
	}
	return how, nil
}
