package spark

import (
	"errors"
	"strconv"
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
