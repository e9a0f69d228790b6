package yarn

import (
	"fmt"
	"strings"
)

// mapping of a user or a group to a queue.
type mapping struct {
	group bool
	name  string
	queue *queue
}

const (
	queueMappings = prefix + "queue-mappings"
	maxMappings   = 1000
)

// queueMappings reads whose applications go where.
func (r *reading) queueMappings() error {
	override := queueMappings + "-override.enable"
	var err error
	if r.forced, _, err = r.truth(override); err != nil {
		return err
	}
	text, there := r.file.values[queueMappings]
	if !there {
		r.file.note(override, Lost, "there are no mappings")
		return nil
	}
	parts := listOf(text)
	if len(parts) > maxMappings {
		return fmt.Errorf("%s: %d mappings: at most %d", queueMappings, len(parts), maxMappings)
	}
	var lost []string
	ended := false // by a mapping that every user matches
	for _, part := range parts {
		fields := strings.Split(part, ":")
		if len(fields) != 3 || fields[0] != "u" && fields[0] != "g" || fields[1] == "" || fields[2] == "" {
			return fmt.Errorf("%s: %s: want u:USER:QUEUE or g:GROUP:QUEUE", queueMappings, shown(part))
		}
		if ended = ended || fields[1] == "%user"; ended || strings.Contains(part, "%") {
			lost = append(lost, part)
			continue
		}
		q := r.find(fields[2])
		if q == nil {
			return fmt.Errorf("%s: %s: there is no queue %s without queues below it", queueMappings, shown(part), shown(fields[2]))
		}
		r.mappings = append(r.mappings, mapping{group: fields[0] == "g", name: fields[1], queue: q})
	}
	if len(lost) > 0 {
		r.file.note(queueMappings, Changed, "without %s: users choose their namespace themselves, and a namespace of their own makes a queue of its own where there is perNamespace", strings.Join(lost, ", "))
	}
	if r.forced {
		r.file.note(queueMappings, Changed, "a ValidatingAdmissionPolicy refuses drivers in another namespace than that of the queue: a namespace cannot be changed any more when a pod is created")
		r.file.note(override, Carried, "")
		return nil
	}
	r.mappings = nil
	r.file.note(queueMappings, Changed, "users choose the namespace, as they might choose the queue; kubectl config set-context --namespace sets a default")
	r.file.note(override, Carried, "")
	return nil
}

// find is the leaf of a path, or of a last name that is one leaf's only; nil means that there is none.
func (r *reading) find(name string) (found *queue) {
	for _, q := range r.root.below() {
		switch {
		case !q.leaf():
		case q.path == name || q.path == "root."+name:
			return q
		case q.name == name && found != nil:
			return nil
		case q.name == name:
			found = q
		}
	}
	return found
}
