package view

import (
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/gang"
)

// youngest is how long an application may wait before it is strange that no scheduler has said anything.
const youngest = 10 * time.Second

// advice is what would help an application that waits for a reason: QUEUE is the queue that stands in its way, SHORT what is short, such
// as "7 cpu more", and APP what kubectl retinue finds it by. A sentence with a word in capitals that is not known is left out.
var advice = map[gang.Reason][]string{
	gang.ClusterFull:      {"it starts when others end, or nodes come", "fewer executors, or smaller ones"},
	gang.Fragmented:       {"it starts when others end on the same nodes", "smaller executors, which fit what is free on single nodes: spark.executor.cores, spark.executor.memory"},
	gang.Constraints:      {"look at its node selector, affinity and tolerations, and at the labels and taints of nodes"},
	gang.NeverFitsNode:    {"executors, or a driver, that fit one node", "larger nodes"},
	gang.NeverFitsCluster: {"fewer executors: spark.executor.instances, or spark.dynamicAllocation.initialExecutors and minExecutors", "more nodes"},
	gang.BehindOthers:     {"it starts when its turn comes", "annotation retinue.dev/rank on its driver moves it forward among those of the same priority in its queue"},
	gang.Collecting:       {"room is kept for it as it comes back: it starts when there is enough"},
	gang.ScaleUpRefused:   {"larger bounds, or other nodes, for the autoscaler's node groups", "fewer executors, or smaller ones"},
	gang.Reclaiming:       {"others give back what it waits for: it starts when they have gone"},
	gang.QueueLimit:       {"it starts when others in queue QUEUE end", "a limit of queue QUEUE that is higher by SHORT", "fewer executors, or smaller ones"},
	gang.QueueMaxGangs:    {"it starts when another application in queue QUEUE ends", "a higher maxRunningGangs of queue QUEUE"},
	gang.QueueClosed:      {"whoever has closed queue QUEUE can open it: kubectl retinue open QUEUE"},
	gang.LeaderShare:      {"it starts when another driver in queue QUEUE ends", "a higher maxLeaderShare of queue QUEUE, or a smaller driver"},
	gang.UserLimit:        {"it starts when another application of the same user ends", "a higher users.limit of queue QUEUE"},
	gang.QuotaUsedUp:      {"it starts when others in the namespace end", "a larger ResourceQuota of the namespace"},
	gang.NeverFitsQueue:   {"fewer executors, or smaller ones", "a higher limit of queue QUEUE"},
	gang.InvalidGang:      {"submit it anew with what the message says is wrong mended"},
	gang.LeaderGone:       {"its driver has ended or is not there: delete the pod"},
	gang.GangIncomplete:   {"it is tried as soon as all that start together, or the ConfigMap of the driver, are there"},
	gang.HeldByUser:       {"its user has held it back: kubectl retinue release APP lets it start"},
	gang.GangTimeout:      {"its pods are tried again after a rest; look why single pods of it do not start"},
	gang.NotSynced:        {"the scheduler has just started: wait a moment"},
	gang.Terminating:      {"it is being deleted"},
}

// adviceOn is the advice with its words filled in.
func adviceOn(app App, about Finding) []string {
	short := ""
	if about.Short != "" {
		short = about.Short + " " + string(about.Resource)
		if about.Resource == v1.ResourceCPU || about.Resource == v1.ResourceMemory {
			short = string(about.Resource) + " " + about.Short
		}
	}
	queue := about.Queue
	if queue == "" {
		queue = app.Queue
	}
	sentences := []string{}
	for _, sentence := range advice[app.Reason] {
		if strings.Contains(sentence, "SHORT") && short == "" {
			sentence = strings.Replace(sentence, " that is higher by SHORT", ", if it were higher", 1)
		}
		if strings.Contains(sentence, "QUEUE") && queue == "" {
			sentence = strings.ReplaceAll(sentence, "open QUEUE", "open NAME")
			sentence = strings.ReplaceAll(strings.ReplaceAll(sentence, " of queue QUEUE", " of its queue"), "queue QUEUE", "its queue")
			if strings.Contains(sentence, "QUEUE") {
				continue
			}
		}
		sentences = append(sentences, strings.NewReplacer("QUEUE", queue, "SHORT", short, "APP", Clean(app.Name)+" -n "+app.Namespace).Replace(sentence))
	}
	switch {
	case app.Reason != "" || app.Message != "":
	case time.Duration(app.Wait)*time.Second < youngest:
		sentences = append(sentences, "it has just been submitted: a scheduler takes a moment to say something")
	default:
		sentences = append(sentences, fmt.Sprintf("is a scheduler named %q running? kubectl retinue doctor looks", schedulerOf(app)))
	}
	return sentences
}

// schedulerOf is the name of the scheduler that an application asks for.
func schedulerOf(app App) string {
	if app.leader != nil {
		return Clean(app.leader.Spec.SchedulerName)
	}
	for _, pod := range app.pods {
		return Clean(pod.Spec.SchedulerName)
	}
	return ""
}
