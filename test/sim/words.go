package sim

import (
	"slices"
	"strings"
	"time"

	"retinue.dev/retinue/pkg/quota"
)

// checkWords: whoever may read the pods and events of a namespace reads of no pod, gang or queue of others there, but for the queues
// above its own. Those may have changed since something was said.
func (r *replica) checkWords(namespace, text string) {
	for _, other := range slices.Concat(namespaces, []string{namespaceOfStrangers}) {
		if other == namespace {
			continue
		}
		if strings.Contains(text, other+"/") {
			r.world.fail("names", "%s: a pod of namespace %s is told of one of %s: %s", r.name, namespace, other, text)
		}
		if queue := "queue-" + other; strings.Contains(text, queue) && !r.answersTo(namespace, queue) {
			r.world.fail("names", "%s: a pod of namespace %s is told of %s: %s", r.name, namespace, queue, text)
		}
	}
}

// answersTo tells whether a queue is that of a namespace or above it, or has been lately. That of a namespace may not exist any more, and is
// called by its name all the same (seed 23659: told to a scheduler that has never known it).
func (r *replica) answersTo(namespace, queue string) bool {
	if r.layout.Namespaces[namespace] == queue {
		return true
	}
	named := func(s quota.Spec) bool { return s.Name == queue }
	return slices.ContainsFunc(r.way(namespace), named) || slices.ContainsFunc(r.former, func(former formerLayout) bool {
		return time.Since(former.until) < evictionWindow && slices.ContainsFunc(wayIn(former.queues, namespace), named)
	})
}
