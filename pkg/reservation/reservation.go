// Package reservation is the text in which a leader carries its gang's reservation.
package reservation

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

// Annotation on a leader holds its gang's reservation as JSON. The scheduler writes it by the call that binds
// the leader and reads it after a restart.
const Annotation = "retinue.dev/reservation"

// What is read back from an annotation, which whoever may patch the pod can write, is bounded.
const (
	// MaxWorkers is how many slots there may be.
	MaxWorkers = spark.MaxWorkers
	// maxRoleText is the length of one role as JSON, in bytes: what spark keeps of all roles, and the punctuation.
	maxRoleText = 128 << 10
	// MaxRuns is how many nodes with slots of one role there may be, over all roles.
	MaxRuns = 50_000
	// MaxText is the length of the JSON, in bytes: a slot on each of 15,000 nodes takes 1.2 MiB.
	MaxText = 4 << 20
)

// The form of the annotation.
type (
	// Written is all of it.
	Written struct {
		Roles []Role  `json:"roles"`
		Slots []Slots `json:"slots"`
	}
	// Role is a set of equal workers, as gang.Role.
	Role struct {
		Name     string            `json:"name"`
		Count    int               `json:"count"`
		Minimum  int               `json:"minimum"`
		Maximum  *int              `json:"maximum,omitempty"`
		Requests v1.ResourceList   `json:"requests"`
		Selector map[string]string `json:"selector,omitempty"`
		// What ties a worker to nodes, left out where empty.
		NodeSelector map[string]string `json:"nodeSelector,omitempty"`
		NodeAffinity *v1.NodeAffinity  `json:"nodeAffinity,omitempty"`
		Tolerations  []v1.Toleration   `json:"tolerations,omitempty"`
		// PodRules of a worker; nil when it has none. Those of other gangs look at its labels, which without them are those of
		// Selector: the ones of its application that are known for sure.
		PodRules *PodRules `json:"bonds,omitempty"`
	}
	// PodRules are what ties a worker to other pods.
	PodRules struct {
		Labels          map[string]string             `json:"labels,omitempty"`
		PodAffinity     *v1.PodAffinity               `json:"podAffinity,omitempty"`
		PodAntiAffinity *v1.PodAntiAffinity           `json:"podAntiAffinity,omitempty"`
		Spread          []v1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`
		Ports           []v1.ContainerPort            `json:"ports,omitempty"`
		Volumes         []v1.Volume                   `json:"volumes,omitempty"`
	}
	// Slots are so many of one role on one node.
	Slots struct {
		Role  int    `json:"role"` // index into Roles
		Node  string `json:"node"`
		Count int    `json:"count"`
	}
)

// A reservation is written as JSON, and from maxPlainText on as its gzip in base64 after GzipPrefix, which takes a tenth: the
// names of nodes are alike.
const (
	GzipPrefix   = "gzip:"
	maxPlainText = 8 << 10
)

// MaxAnnotations is how long all annotations of an object may be, keys and values, in bytes. The API server checks it in every
// update, and not in a binding, which adds annotations: one that is too long there makes every later update of the pod fail, the
// kubelet's of its status among them.
const MaxAnnotations = 256 << 10

// Pack is the form in which JSON is written.
func Pack(text []byte) (string, error) {
	if len(text) > MaxText {
		return "", fmt.Errorf("a reservation of %d bytes, more than %d", len(text), MaxText)
	}
	if len(text) < maxPlainText {
		return string(text), nil
	}
	var packed strings.Builder
	packed.WriteString(GzipPrefix)
	WriteGzip(&packed, text)
	return packed.String(), nil
}

// WriteGzip adds the gzip of a text in base64. Only a writer that fails makes these fail, and a builder does not.
func WriteGzip(to *strings.Builder, text []byte) {
	encoder := base64.NewEncoder(base64.StdEncoding, to)
	compressor := gzip.NewWriter(encoder)
	_, _ = compressor.Write(text)
	_ = compressor.Close()
	_ = encoder.Close()
}

// unpack reads the JSON back, and of it no more than may be written.
func unpack(text string) io.Reader {
	packed, isPacked := strings.CutPrefix(text, GzipPrefix)
	if !isPacked {
		return strings.NewReader(text)
	}
	return &lazyGzip{from: base64.NewDecoder(base64.StdEncoding, strings.NewReader(packed)), left: MaxText}
}

// errText means that the text of a reservation is longer than any that is written.
var errText = fmt.Errorf("a reservation of more than %d bytes", MaxText)

// lazyGzip decompresses as far as somebody reads, and at most what is left.
type lazyGzip struct {
	from io.Reader
	gzip *gzip.Reader // nil before the first read
	left int          // bytes
}

func (l *lazyGzip) Read(into []byte) (int, error) {
	if l.gzip == nil {
		var err error
		if l.gzip, err = gzip.NewReader(l.from); err != nil {
			return 0, err
		}
	}
	n, err := l.gzip.Read(into)
	if l.left -= n; l.left < 0 {
		return 0, errText
	}
	return n, err
}

// Read decodes role by role and slot by slot, so that no more is decoded than may be there.
func Read(text string) (Written, error) {
	var written Written
	if len(text) > MaxAnnotations {
		return written, fmt.Errorf("%d bytes, more than %d", len(text), MaxAnnotations)
	}
	decoder := json.NewDecoder(unpack(text))
	err := eachMember(decoder, func(name string) error {
		switch name {
		case "roles":
			return eachItem(decoder, spark.MaxRoles, func() error {
				role, err := readRole(decoder)
				written.Roles = append(written.Roles, role)
				return err
			})
		case "slots":
			return eachItem(decoder, MaxWorkers, func() error {
				var slots Slots
				err := decoder.Decode(&slots)
				if err == nil && !written.extend(slots) {
					written.Slots = append(written.Slots, slots)
				}
				if len(written.Slots) > MaxRuns {
					return fmt.Errorf("slots on more than %d nodes", MaxRuns)
				}
				return err
			})
		default:
			return decoder.Decode(&json.RawMessage{})
		}
	})
	if err != nil {
		return Written{}, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Written{}, errors.New("something follows the reservation")
	}
	return written, nil
}

// extend adds slots to those before them if these are of the same role on the same node, and tells whether they are.
func (w *Written) extend(slots Slots) bool {
	if len(w.Slots) == 0 {
		return false
	}
	last := &w.Slots[len(w.Slots)-1]
	countable := func(n int) bool { return n >= 0 && n <= MaxWorkers } // any other is refused by itself
	if last.Role != slots.Role || last.Node != slots.Node || !countable(last.Count) || !countable(slots.Count) {
		return false
	}
	last.Count += slots.Count
	return true
}

func readRole(decoder *json.Decoder) (Role, error) {
	var text json.RawMessage
	if err := decoder.Decode(&text); err != nil {
		return Role{}, err
	}
	if len(text) > maxRoleText {
		return Role{}, fmt.Errorf("a role of %d bytes, more than %d", len(text), maxRoleText)
	}
	var document any
	checker := json.NewDecoder(bytes.NewReader(text))
	checker.UseNumber()
	if err := checker.Decode(&document); err != nil {
		return Role{}, err
	}
	if err := resource.Check[Role](document); err != nil {
		return Role{}, err
	}
	var role Role
	err := json.Unmarshal(text, &role)
	return role, err
}

// eachMember calls f with the name of every member of an object; f reads its value.
func eachMember(decoder *json.Decoder, f func(name string) error) error {
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	if token != json.Delim('{') {
		return errors.New("no object where one has to be")
	}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		if err := f(name); err != nil {
			return err
		}
	}
	_, err = decoder.Token()
	return err
}

// eachItem calls f before every item of a list of at most so many; f reads it. null is a list of none.
func eachItem(decoder *json.Decoder, most int, f func() error) error {
	token, err := decoder.Token()
	if err != nil || token == nil {
		return err
	}
	if token != json.Delim('[') {
		return errors.New("no list where one has to be")
	}
	for n := 0; decoder.More(); n++ {
		if n == most {
			return fmt.Errorf("a list of more than %d", most)
		}
		if err := f(); err != nil {
			return err
		}
	}
	_, err = decoder.Token()
	return err
}
