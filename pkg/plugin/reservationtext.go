package plugin

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

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

// A reservation is written as JSON, and from maxPlainText on as its gzip in base64 after gzipPrefix, which takes a tenth: the
// names of nodes are alike.
const (
	gzipPrefix   = "gzip:"
	maxPlainText = 8 << 10
)

// maxAnnotations is how long all annotations of an object may be, keys and values, in bytes. The API server checks it in every
// update, and not in a binding, which adds annotations: one that is too long there makes every later update of the pod fail, the
// kubelet's of its status among them.
const maxAnnotations = 256 << 10

// spareAnnotations is what is left for others, who annotate pods after they are bound, and for slots that move.
const spareAnnotations = 32 << 10

// pack is the form in which JSON is written.
func pack(text []byte) (string, error) {
	if len(text) > maxReservationText {
		return "", fmt.Errorf("a reservation of %d bytes, more than %d", len(text), maxReservationText)
	}
	if len(text) < maxPlainText {
		return string(text), nil
	}
	var packed strings.Builder
	packed.WriteString(gzipPrefix)
	writeGzip(&packed, text)
	return packed.String(), nil
}

// writeGzip adds the gzip of a text in base64. Only a writer that fails makes these fail, and a builder does not.
func writeGzip(to *strings.Builder, text []byte) {
	encoder := base64.NewEncoder(base64.StdEncoding, to)
	compressor := gzip.NewWriter(encoder)
	_, _ = compressor.Write(text)
	_ = compressor.Close()
	_ = encoder.Close()
}

// unpack reads the JSON back, and of it no more than may be written.
func unpack(text string) io.Reader {
	packed, isPacked := strings.CutPrefix(text, gzipPrefix)
	if !isPacked {
		return strings.NewReader(text)
	}
	return &lazyGzip{from: base64.NewDecoder(base64.StdEncoding, strings.NewReader(packed)), left: maxReservationText}
}

// errReservationText means that the text of a reservation is longer than any that is written.
var errReservationText = fmt.Errorf("a reservation of more than %d bytes", maxReservationText)

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
		return 0, errReservationText
	}
	return n, err
}

// readReservation decodes role by role and slot by slot, so that no more is decoded than may be there.
func readReservation(text string) (writtenReservation, error) {
	var written writtenReservation
	if len(text) > maxAnnotations {
		return written, fmt.Errorf("%d bytes, more than %d", len(text), maxAnnotations)
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
			return eachItem(decoder, maxReservedWorkers, func() error {
				var slots writtenSlots
				err := decoder.Decode(&slots)
				if err == nil && !written.extend(slots) {
					written.Slots = append(written.Slots, slots)
				}
				if len(written.Slots) > maxRuns {
					return fmt.Errorf("slots on more than %d nodes", maxRuns)
				}
				return err
			})
		default:
			return decoder.Decode(&json.RawMessage{})
		}
	})
	if err != nil {
		return writtenReservation{}, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return writtenReservation{}, errors.New("something follows the reservation")
	}
	return written, nil
}

// extend adds slots to those before them if these are of the same role on the same node, and tells whether they are.
func (w *writtenReservation) extend(slots writtenSlots) bool {
	if len(w.Slots) == 0 {
		return false
	}
	last := &w.Slots[len(w.Slots)-1]
	countable := func(n int) bool { return n >= 0 && n <= maxReservedWorkers } // any other is refused by itself
	if last.Role != slots.Role || last.Node != slots.Node || !countable(last.Count) || !countable(slots.Count) {
		return false
	}
	last.Count += slots.Count
	return true
}

func readRole(decoder *json.Decoder) (writtenRole, error) {
	var text json.RawMessage
	if err := decoder.Decode(&text); err != nil {
		return writtenRole{}, err
	}
	if len(text) > maxRoleText {
		return writtenRole{}, fmt.Errorf("a role of %d bytes, more than %d", len(text), maxRoleText)
	}
	var document any
	checker := json.NewDecoder(bytes.NewReader(text))
	checker.UseNumber()
	if err := checker.Decode(&document); err != nil {
		return writtenRole{}, err
	}
	if err := resource.Check[writtenRole](document); err != nil {
		return writtenRole{}, err
	}
	var role writtenRole
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

// unwritable says why a leader cannot carry the reservation of these slots; empty means that it can. A text is made only
// where it could be too long.
func unwritable(leader *v1.Pod, roles []gang.Role, slots []gang.Slot) string {
	others, longest := annotationBytes(leader), 0
	for i, slot := range slots {
		if i == 0 || slot.Node != slots[i-1].Node || slot.Role != slots[i-1].Role {
			longest += len(slot.Node) + slotTextBytes
		}
	}
	for _, role := range roles {
		longest += roleTextFactor*role.Pod.Size() + roleTextBytes
	}
	if others+longest <= maxAnnotations-spareAnnotations {
		return ""
	}
	text, err := encodeReservation(ledger.Reservation{Definition: gang.Definition{Roles: roles}, Slots: ledger.Runs(slots)})
	if err != nil {
		return err.Error()
	}
	return annotationsProblem(leader, text)
}

// What a text takes at most besides names: a slot its numbers, a role its numbers, and for every byte of a pod as Kubernetes
// encodes it the names of its fields.
const (
	slotTextBytes  = 64
	roleTextBytes  = 4 << 10
	roleTextFactor = 8
)

// annotationBytes is how long the annotations of a pod are without those that are written anew when it gets its node.
func annotationBytes(pod *v1.Pod) int {
	size := 0
	for name, value := range pod.Annotations {
		if name != AnnotationReservation && name != gang.AnnotationStatus {
			size += len(name) + len(value)
		}
	}
	return size
}

// annotationsProblem says why a pod cannot carry the text of its gang's reservation; empty means that it can.
func annotationsProblem(pod *v1.Pod, text string) string {
	others := annotationBytes(pod)
	if len(AnnotationReservation)+len(text)+others <= maxAnnotations-spareAnnotations {
		return ""
	}
	return fmt.Sprintf("its reservation takes %d bytes as annotation %s and its other annotations %d, more than %d together: use fewer roles, shorter selectors and affinities, or fewer and larger workers",
		len(text), AnnotationReservation, others, maxAnnotations-spareAnnotations)
}
