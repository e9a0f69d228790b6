package main

import "fmt"

// boards are all of them, in the order in which an operator reads them.
var boards = []board{cluster, queues, waiting, scheduler}

// of selects series of Retinue.
func of(name, matchers string) string {
	if matchers != "" {
		matchers = ", " + matchers
	}
	return fmt.Sprintf(`%s{job="retinue-metrics"%s}`, name, matchers)
}

// chosen selects series of the queues that the reader has chosen.
func chosen(name, matchers string) string {
	if matchers != "" {
		matchers = ", " + matchers
	}
	return of(name, `queue=~"$queue"`+matchers)
}

// rate is how much of a counter comes in a second, by a label.
func rate(by, name, matchers string) string {
	return fmt.Sprintf("sum by (%s) (rate(%s[$__rate_interval]))", by, of(name, matchers))
}

// quantiles are queries for how long something takes that a histogram has counted.
func quantiles(histogram, matchers string) []query {
	var queries []query
	for _, quantile := range []string{"0.5", "0.99"} {
		queries = append(queries, query{fmt.Sprintf("histogram_quantile(%s, %s)", quantile, rate("le", histogram+"_bucket", matchers)), quantile})
	}
	return queries
}

// amounts are the panels of a resource in the whole cluster.
func amounts(title, resource, unit string) panel {
	match, top := fmt.Sprintf(`resource="%s"`, resource), fmt.Sprintf(`parent="", resource="%s"`, resource)
	return panel{
		title, "What is pending above what is allocatable cannot start. What is held waits for executors that do not exist yet, and is a part of what is allocated.", unit, false,
		[]query{
			{"max(" + of("retinue_nodes_allocatable", match) + ")", "allocatable"},
			{"sum(" + of("retinue_queue_allocated", top) + ")", "allocated"},
			{"sum(" + of("retinue_queue_held", top) + ")", "held"},
			{"sum(" + of("retinue_queue_pending", top) + ")", "pending"},
		},
	}
}

var cluster = board{name: "cluster", title: "Cluster", panels: []panel{
	amounts("Cores", "cpu", "short"),
	amounts("Memory", "memory", "bytes"),
	{"Gangs by state", "Degraded gangs run with fewer executors than they started with; Invalid ones never start.", "short", true, []query{
		{"sum by (state) (" + of("retinue_queue_gangs", `parent=""`) + ")", "{{state}}"},
	}},
	{"Waiting by reason", "docs/reasons.md says what each means and who can do something. Fragmented: room is free, in pieces that are too small.", "short", true, []query{
		{"sum by (reason) (" + of("retinue_queue_waiting", `parent=""`) + ")", "{{reason}}"},
	}},
	{"Longest wait", "", "s", false, []query{
		{"max(" + of("retinue_queue_oldest_wait_seconds", `parent=""`) + ")", "longest"},
	}},
	{"Starts in an hour", "Gangs and pods by themselves that were bound.", "short", true, []query{
		{"sum by (queue) (rate(" + of("retinue_gang_wait_seconds_count", "") + "[$__rate_interval])) * 3600", "{{queue}}"},
	}},
	{"Work thrown away", "Cores that pods had used before they were evicted for other queues, as if it were spread over time.", "short", true, []query{
		{rate("queue", "retinue_reclaimed_core_seconds_total", ""), "{{queue}}"},
	}},
	{"Partial gangs", "Gangs that run without all that start together. It has to be 0.", "short", false, []query{
		{"max(" + of("retinue_gangs_partial", "") + ")", "partial"},
	}},
	{"Nodes asked for", "Gangs for which the autoscaler is asked for nodes.", "short", false, []query{
		{"max(" + of("retinue_scale_up_requests", "") + ")", "gangs"},
	}},
}}

// standing is a panel of how the chosen queues stand with a resource.
func standing(title, resource, unit string) panel {
	match := fmt.Sprintf(`resource="%s"`, resource)
	var queries []query
	for _, what := range []string{"guaranteed", "limit", "fair_share", "allocated", "pending"} {
		queries = append(queries, query{"max by (queue) (" + chosen("retinue_queue_"+what, match) + ")", "{{queue}} " + what})
	}
	return panel{title, "With all queues below. A queue can always have its guarantee, and never has more than its limit.", unit, false, queries}
}

// part is the share that one amount of a queue is of another.
func part(what, whole string) string {
	return fmt.Sprintf("max by (queue, resource) (%s / (%s > 0))", chosen(what, ""), chosen(whole, ""))
}

var queues = board{name: "queues", title: "Queues", choose: true, panels: []panel{
	standing("Cores", "cpu", "short"),
	standing("Memory", "memory", "bytes"),
	{"Use of the guarantee", "Above 1 is borrowed.", "percentunit", false, []query{{part("retinue_queue_allocated", "retinue_queue_guaranteed"), "{{queue}} {{resource}}"}}},
	{"Use of the limit", "", "percentunit", false, []query{{part("retinue_queue_allocated", "retinue_queue_limit"), "{{queue}} {{resource}}"}}},
	{"Cores borrowed", "Used beyond the guarantee.", "short", true, []query{{"max by (queue) (" + chosen("retinue_queue_borrowed", `resource="cpu"`) + ")", "{{queue}}"}}},
	{"Cores lent", "At most: nobody records whose idle guarantee a borrower has.", "short", true, []query{{"max by (queue) (" + chosen("retinue_queue_lent", `resource="cpu"`) + ")", "{{queue}}"}}},
	{"Gangs by state", "", "short", true, []query{{"max by (queue, state) (" + chosen("retinue_queue_gangs", "") + ")", "{{queue}} {{state}}"}}},
	{"Share of leaders", "What drivers hold of the cores of their queue: the rest is what executors work with.", "percentunit", false, []query{
		{`max by (queue) (` + chosen("retinue_queue_leaders_allocated", `resource="cpu"`) + " / (" + chosen("retinue_queue_allocated", `resource="cpu"`) + " > 0))", "{{queue}}"},
	}},
	{"Users", "Who hold something.", "short", false, []query{{"max by (queue) (" + chosen("retinue_queue_users", "") + ")", "{{queue}}"}}},
	{"Closed, or not as written", "1 for Draining and Stopped; problems are what of a Queue does not count as it is written.", "short", false, []query{
		{`max by (queue, state) (` + chosen("retinue_queue_state", `state!="Open"`) + ")", "{{queue}} {{state}}"},
		{`max by (queue) (` + chosen("retinue_queue_problems", "") + ")", "{{queue}} problems"},
	}},
	{"Evicted pods", "For other queues, in a second.", "short", true, []query{
		{"sum by (queue) (rate(" + chosen("retinue_reclaimed_pods_total", "") + "[$__rate_interval]))", "{{queue}}"},
	}},
}}

var waiting = board{name: "waiting", title: "Waiting", choose: true, panels: []panel{
	{"By reason", "Gangs, pods by themselves and workers beyond the start of their gang. docs/reasons.md says what each reason means.", "short", true, []query{
		{"max by (queue, reason) (" + chosen("retinue_queue_waiting", "") + ")", "{{queue}} {{reason}}"},
	}},
	{"Can never start", "Their users have to submit something else, or to another queue.", "short", true, []query{
		{"max by (queue, reason) (" + chosen("retinue_queue_waiting", `reason=~"NeverFits.*"`) + ")", "{{queue}} {{reason}}"},
		{"max by (queue) (" + chosen("retinue_queue_gangs", `state="Invalid"`) + ")", "{{queue}} Invalid"},
	}},
	{"Longest wait", "", "s", false, []query{{"max by (queue) (" + chosen("retinue_queue_oldest_wait_seconds", "") + ")", "{{queue}}"}}},
	{"Wait of those that have started", "Half of them, and 95 in a hundred, waited no longer.", "s", false, []query{
		{"histogram_quantile(0.5, sum by (le, queue) (rate(" + chosen("retinue_gang_wait_seconds_bucket", "") + "[$__rate_interval])))", "{{queue}} 0.5"},
		{"histogram_quantile(0.95, sum by (le, queue) (rate(" + chosen("retinue_gang_wait_seconds_bucket", "") + "[$__rate_interval])))", "{{queue}} 0.95"},
	}},
	{"Cores that are waited for", "", "short", true, []query{{"max by (queue) (" + chosen("retinue_queue_pending", `resource="cpu"`) + ")", "{{queue}}"}}},
	{"Memory that is waited for", "", "bytes", true, []query{{"max by (queue) (" + chosen("retinue_queue_pending", `resource="memory"`) + ")", "{{queue}}"}}},
	{"Slots that nobody has claimed", "Executors that have room and do not exist yet.", "short", true, []query{{"max by (queue) (" + chosen("retinue_queue_slots_unclaimed", "") + ")", "{{queue}}"}}},
	{"Cores of those slots", "", "short", true, []query{{"max by (queue) (" + chosen("retinue_queue_held", `resource="cpu"`) + ")", "{{queue}}"}}},
}}

var scheduler = board{name: "scheduler", title: "Scheduler", panels: []panel{
	{"Leader", "The sum has to be 1.", "short", true, []query{{"sum by (instance) (" + of("leader_election_master_status", `name="kube-scheduler"`) + ")", "{{instance}}"}}},
	{"Attempts in a second", "error is something else than no room.", "short", true, []query{{rate("result", "scheduler_schedule_attempts_total", ""), "{{result}}"}}},
	{"Duration of attempts", "", "s", false, quantiles("scheduler_scheduling_attempt_duration_seconds", "")},
	{"From room to bound", "Until the API server says so.", "s", false, quantiles("retinue_gang_bind_seconds", "")},
	{"Ledger's lock held", "Meanwhile nobody else gets on.", "s", false, quantiles("retinue_ledger_lock_held_seconds", "")},
	{"Work of an attempt", "Nodes that filters were asked about: rehearsals, and who would have to leave.", "short", false, quantiles("retinue_attempt_work_nodes", "")},
	{"Work for one namespace", "The largest share of a minute so far.", "percentunit", false, []query{{"max(" + of("retinue_namespace_work_ratio", "") + ")", "largest"}}},
	{"Pods in kube-scheduler's queue", "gated are those who wait for their turn or for room.", "short", true, []query{{"sum by (queue) (" + of("scheduler_pending_pods", "") + ")", "{{queue}}"}}},
	{"Predictions", "First executors, by how they were beside what was predicted.", "short", true, []query{{rate("result", "retinue_predictions_total", ""), "{{result}}"}}},
	{"Slots given up", "Before an executor claimed them.", "short", true, []query{{rate("cause", "retinue_slots_released_total", ""), "{{cause}}"}}},
	{"Repairs", "Slots that their nodes could not keep, and gangs that were found half bound.", "short", true, []query{{rate("repair", "retinue_ledger_repairs_total", ""), "{{repair}}"}}},
	{"Requests to the API server", "", "reqps", true, []query{{rate("code", "rest_client_requests_total", ""), "{{code}}"}}},
	{"Processor", "Cores.", "short", false, []query{{rate("instance", "process_cpu_seconds_total", ""), "{{instance}}"}}},
	{"Memory", "", "bytes", false, []query{{"max by (instance) (" + of("process_resident_memory_bytes", "") + ")", "{{instance}}"}}},
	{"Unknown", "Kinds that could not be listed, and queues without series.", "short", false, []query{
		{"max by (kind) (" + of("retinue_unknown_kinds", "") + ")", "{{kind}}"},
		{"max(" + of("retinue_queues_unmeasured", "") + ")", "queues"},
	}},
	{"Scale-up", "How an autoscaler is asked for nodes.", "short", false, []query{{"max by (mode) (" + of("retinue_scale_up_mode", "") + ")", "{{mode}}"}}},
}}
