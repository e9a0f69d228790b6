package gang

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"retinue.dev/retinue/pkg/resource"
)

// AnnotationStatus is on a pod that waits and says why, for programs. The scheduler writes it and never reads it: whoever may patch the
// pod can write anything there.
const AnnotationStatus = "retinue.dev/status"

// StatusVersion is the version of Status. Whoever reads another does not know what it says.
const StatusVersion = 1

// Bounds of what is written.
const (
	// LongestStatus is how long the annotation is at most, in bytes.
	LongestStatus = 2048
	// longestSentence bounds a sentence, longestName the name of a resource, both in bytes, and mostNumbers the resources.
	longestSentence = 1024
	longestName     = 100
	mostNumbers     = 4
)

// Status is the value of AnnotationStatus: the same as the condition PodScheduled says, as data. The zero Reason means that the pod waits no
// more.
type Status struct {
	Version  int    `json:"version"`
	Reason   Reason `json:"reason,omitempty"`
	Sentence string `json:"sentence,omitempty"`
	// Numbers of the resources that are missing, the one that binds first.
	Numbers []Number `json:"numbers,omitempty"`
	// Nodes that were looked at; nil where it is not about nodes.
	Nodes *int `json:"nodes,omitempty"`
	// Permanent and Actor are what the table of reasons says of the Reason.
	Permanent bool  `json:"permanent,omitempty"`
	Actor     Actor `json:"actor,omitempty"`
	// Since when the pod has waited for this Reason, as far as the scheduler knows that runs; nil where it waits no more.
	Since *time.Time `json:"since,omitempty"`
}

// Number is what is asked for of one resource, and what there is: amounts as Kubernetes writes them, empty where there is none.
type Number struct {
	// Resource is its name; "gangs" counts applications.
	Resource string `json:"resource"`
	Need     string `json:"need"`
	// Used of the Limit already, for what has a limit; Free for what has none.
	Used  string `json:"used,omitempty"`
	Limit string `json:"limit,omitempty"`
	Free  string `json:"free,omitempty"`
	// Short is how much is missing in all; empty if nothing is.
	Short string `json:"short,omitempty"`
}

// NewStatus is the status of a pod that waits. names tells whether others are named, as in Verdict.Text.
func NewStatus(v Verdict, names bool, since time.Time) Status {
	trait := v.Reason.Trait()
	since = since.UTC().Truncate(time.Second)
	status := Status{Version: StatusVersion, Reason: v.Reason, Sentence: v.Text(names), Permanent: trait.Permanent, Actor: trait.Actor, Since: &since}
	figures := v.Figures()
	status.Nodes = figures.Nodes
	for _, figure := range figures.Of[:min(len(figures.Of), mostNumbers)] {
		status.Numbers = append(status.Numbers, numberOf(figure))
	}
	return status
}

func numberOf(f resource.Figure) Number {
	amount := func(value *int64) string {
		if value == nil {
			return ""
		}
		return resource.Quantity(f.Name, *value).String()
	}
	number := Number{Resource: cut(string(f.Name), longestName), Need: amount(&f.Need), Used: amount(f.Used), Limit: amount(f.Limit), Free: amount(f.Free)}
	if short := f.Short(); short > 0 {
		number.Short = amount(&short)
	}
	return number
}

// Encode is the text of the annotation, LongestStatus at most: what a user chose is cut until it fits.
func (s Status) Encode() string {
	for most := longestSentence; ; most /= 2 {
		s.Sentence = cut(s.Sentence, most)
		var text bytes.Buffer
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(s); err != nil { // none of its fields can fail
			return ""
		}
		if encoded := strings.TrimSuffix(text.String(), "\n"); len(encoded) <= LongestStatus || most == 0 {
			return encoded
		}
	}
}

// cut is a text of so many bytes at most, and of whole characters.
func cut(text string, most int) string {
	const more = "…"
	switch {
	case len(text) <= most:
		return text
	case most <= len(more):
		return ""
	}
	return strings.ToValidUTF8(text[:most-len(more)], "") + more
}

// ErrStatus is what is wrong with a text that is no Status: somebody else has written it, or another version of the scheduler.
var ErrStatus = errors.New("no status of this version")

// DecodeStatus reads what Encode has written. Whoever can patch the pod can have written it as well: it says what its writer likes, of
// which DecodeStatus bounds the length.
func DecodeStatus(text string) (Status, error) {
	if len(text) > LongestStatus {
		return Status{}, fmt.Errorf("%w: %d bytes, more than %d", ErrStatus, len(text), LongestStatus)
	}
	var status Status
	if err := json.Unmarshal([]byte(text), &status); err != nil {
		return Status{}, fmt.Errorf("%w: %w", ErrStatus, err)
	}
	if status.Version != StatusVersion {
		return Status{}, fmt.Errorf("%w: version %d", ErrStatus, status.Version)
	}
	return status, nil
}
