package resource

import v1 "k8s.io/api/core/v1"

// Figures are the numbers of a sentence about room or limits, for programs.
type Figures struct {
	// Of is what they are of, the one that binds first.
	Of []Figure
	// Nodes that were looked at; nil where it is not about nodes.
	Nodes *int
}

// Figure is what is asked for of one resource, and what there is, in the unit of its field in Vector.
type Figure struct {
	Name v1.ResourceName
	// Need is what is asked for.
	Need int64
	// Used of the Limit already, for what has a limit; Free for what has none. nil is what the sentence does not speak of.
	Used, Limit, Free *int64
}

// Short is how much less there is than needed; 0 means that nothing is missing in all.
func (f Figure) Short() int64 {
	switch {
	case f.Limit != nil:
		short := f.Need - *f.Limit
		if f.Used != nil {
			short += *f.Used
		}
		return max(short, 0)
	case f.Free != nil:
		return max(f.Need-*f.Free, 0)
	default:
		return 0
	}
}
