package spark

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrOwner is returned for a ConfigMap that another pod owns, when a driver points to it. It may be a leftover of an
// earlier application whose map had the same name, so asking again later is worthwhile.
var ErrOwner = errors.New("the ConfigMap belongs to another pod")

// quotedBytes bounds how much of a value an error repeats.
const quotedBytes = 64

// quote shows a value in an error: one line, printable, and short.
func quote(value string) string {
	if len(value) <= quotedBytes {
		return strconv.Quote(value)
	}
	cut := quotedBytes
	for cut > 0 && !utf8.RuneStart(value[cut]) {
		cut--
	}
	return strconv.Quote(value[:cut]) + "…"
}

// oneLine keeps an error of a decoder to one short line: it may repeat what it read.
func oneLine(err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > 3*quotedBytes {
		text = strings.ToValidUTF8(text[:3*quotedBytes], "") + "…"
	}
	return errors.New(text)
}

// decodingError says what a JSON decoder did not like, in the words of whoever wrote the text.
func decodingError(err error) error {
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind) && kind.Field == "":
		return fmt.Errorf("the whole of it is of the wrong kind: %s", kind.Value)
	case errors.As(err, &kind):
		return fmt.Errorf("%s is of the wrong kind: %s", kind.Field, kind.Value)
	default:
		return errors.New(strings.TrimPrefix(oneLine(err).Error(), "json: "))
	}
}
