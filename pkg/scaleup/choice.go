package scaleup

const (
	// ChoiceAnnotation is on the Lease that the scheduler holds in which mode an autoscaler is asked for nodes, and why in that: "Off: no
	// autoscaler has been found". It is there for who sees neither the scheduler's log nor its metrics.
	ChoiceAnnotation = "retinue.dev/scale-up-mode"
	// Unseen begins the reason for a mode that was taken because the scheduler could not look what there is.
	Unseen = "no autoscaler can be looked for"
)
