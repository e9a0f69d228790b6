package gang

import (
	"fmt"
	"strings"

	"retinue.dev/retinue/pkg/resource"
)

// Verdict is a Reason with its numbers. They are kept as data and become a sentence where somebody reads it. The zero Verdict means
// that nothing stands in the way.
type Verdict struct {
	Reason Reason
	// Detail is the data; nil when there is none but the words of Message.
	Detail Detail
	// Message is what is to be said after that.
	Message string
}

// Detail is the data of a Verdict. Who reads a pod of one namespace need not be allowed to know the others: names tells whether pods, users
// and queues of others are named.
type Detail interface {
	Text(names bool) string
}

// figured is a Detail with numbers for programs.
type figured interface{ Figures() resource.Figures }

// Figures are the numbers of its Detail, as far as that has any.
func (v Verdict) Figures() resource.Figures {
	if detail, has := v.Detail.(figured); has {
		return detail.Figures()
	}
	return resource.Figures{}
}

// Passes tells whether nothing stands in the way.
func (v Verdict) Passes() bool { return v.Reason == "" }

// Permanent tells whether waiting alone cannot help: somebody has to change the gang or the nodes.
func (v Verdict) Permanent() bool { return v.Reason.Trait().Permanent }

// OfQueue tells whether it is the queue that stands in the way, whatever room there is.
func (v Verdict) OfQueue() bool { return v.Reason.Trait().OfQueue }

// OfRoom tells whether nothing but room is missing, which may come back.
func (v Verdict) OfRoom() bool { return v.Reason.Trait().OfRoom }

// Text is the sentence without the reason.
func (v Verdict) Text(names bool) string {
	if v.Detail == nil {
		return v.Message
	}
	return v.Detail.Text(names) + v.Message
}

// Say is the form of messages, the reason first: "Fragmented: 3 of 4 executors fit …".
func (v Verdict) Say(names bool) string {
	text := v.Text(names)
	if text == "" {
		return string(v.Reason)
	}
	return string(v.Reason) + ": " + text
}

// String is what everybody may read.
func (v Verdict) String() string { return v.Say(false) }

// ReasonOf is the reason with which a text of Verdict.Say begins; false if it begins otherwise.
func ReasonOf(text string) (Reason, bool) {
	word, _, _ := strings.Cut(text, ":")
	reason := Reason(word)
	return reason, traits[reason] != nil
}

// Counted is a number of things: "1 node", "2 nodes".
func Counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
