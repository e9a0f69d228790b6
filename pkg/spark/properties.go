package spark

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxBytes bounds the text of spark.properties and of a pod template: the size of the largest ConfigMap that an API
// server stores. Longer text is an error.
const MaxBytes = 3 << 19 // 1.5 MiB

// maxSettings bounds how many settings an application has. Applications that set hundreds exist.
const maxSettings = 10_000

// Properties are the Spark settings that matter to a gang, by key; see Keys.
type Properties map[string]Value

// Value is the value of one setting.
type Value struct {
	// Text is what Spark's driver sees: trimmed, and with references to other settings resolved.
	Text string
	// written is what stands in the file if that has references; "" means the same as Text. Users are shown this one: a
	// reference may bring in the value of any setting, and with a mistake that of a password.
	written string
}

// shown is the value for people to read.
func (v Value) shown() string { return cmp.Or(v.written, v.Text) }

// ParseProperties reads the text of a spark.properties file and keeps the keys that this package knows.
func ParseProperties(text string) (Properties, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("spark.properties has %d bytes, more than %d", len(text), MaxBytes)
	}
	all, err := parseJava(text)
	if err != nil {
		return nil, fmt.Errorf("spark.properties: %w", err)
	}
	for key, value := range all {
		all[key] = trimValue(value)
	}
	kept := Properties{}
	// In order, so that of several mistakes it is always the same one that is told.
	for _, key := range slices.Sorted(maps.Keys(all)) {
		known, found := find(key)
		if !found {
			continue
		}
		value := Value{Text: all[key]}
		if known.nameOnly() {
			value = Value{}
		}
		if !known.raw() {
			if value.Text, err = resolve(key, all[key], all); err != nil {
				return nil, err
			}
			if value.Text != all[key] {
				value.written = strings.Clone(all[key])
			}
		}
		// A copy, so that the little that is kept does not hold the whole text in memory.
		value.Text = strings.Clone(value.Text)
		kept[strings.Clone(key)] = value
	}
	return kept, nil
}

// trimValue does what Spark does to every value of a properties file: it drops control characters and spaces at both
// ends, but not line ends.
func trimValue(value string) string {
	return strings.TrimFunc(value, func(r rune) bool { return r <= ' ' && r != '\r' && r != '\n' })
}

// parseJava reads the format of java.util.Properties.load, key -> value; the last of several equal keys wins.
func parseJava(text string) (map[string]string, error) {
	values := map[string]string{}
	lines := lineReader{text: text}
	for {
		line, more := lines.next()
		if !more {
			return values, nil
		}
		key, value := splitLine(line)
		key, keyErr := unescape(key)
		value, valueErr := unescape(value)
		if keyErr != nil || valueErr != nil {
			return nil, fmt.Errorf("line %d: a \\u escape needs four hexadecimal digits", lines.started)
		}
		if values[key] = value; len(values) > maxSettings {
			return nil, fmt.Errorf("more than %d settings", maxSettings)
		}
	}
}

// blanks are the characters that Java skips between the parts of a line.
const blanks = " \t\f"

// lineReader yields logical lines: natural lines joined where one ends in an odd number of backslashes, without
// comments, blank lines and leading white space.
type lineReader struct {
	text    string // what is left
	read    int    // natural lines read so far
	started int    // the natural line, counted from 1, in which the last logical line began
}

func (r *lineReader) next() (line string, more bool) {
	var logical strings.Builder
	for r.text != "" {
		natural := strings.TrimLeft(r.natural(), blanks)
		if logical.Len() == 0 {
			if natural == "" || natural[0] == '#' || natural[0] == '!' {
				continue
			}
			r.started = r.read
		}
		continued := endsInBackslash(natural)
		if continued {
			natural = natural[:len(natural)-1]
		}
		logical.WriteString(natural)
		if !continued {
			return logical.String(), true
		}
	}
	return logical.String(), logical.Len() > 0
}

// natural takes one line, ended by \n, \r, \r\n or the end of the text.
func (r *lineReader) natural() string {
	r.read++
	end := strings.IndexAny(r.text, "\r\n")
	if end < 0 {
		line := r.text
		r.text = ""
		return line
	}
	line, rest := r.text[:end], r.text[end+1:]
	if r.text[end] == '\r' {
		rest = strings.TrimPrefix(rest, "\n")
	}
	r.text = rest
	return line
}

func endsInBackslash(line string) bool {
	return (len(line)-len(strings.TrimRight(line, `\`)))%2 == 1
}

// splitLine cuts a logical line at the first separator that is not escaped. Both parts are still escaped.
func splitLine(line string) (key, value string) {
	end, escaped := 0, false
	for ; end < len(line); end++ {
		c := line[end]
		if !escaped && strings.IndexByte("=:"+blanks, c) >= 0 {
			break
		}
		escaped = c == '\\' && !escaped
	}
	value = strings.TrimLeft(line[end:], blanks)
	if value != "" && (value[0] == '=' || value[0] == ':') {
		value = strings.TrimLeft(value[1:], blanks)
	}
	return line[:end], value
}

// unescape resolves backslash escapes.
func unescape(text string) (string, error) {
	if !strings.Contains(text, `\`) {
		return text, nil
	}
	var out strings.Builder
	out.Grow(len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			out.WriteByte(text[i])
			continue
		}
		if i++; i == len(text) {
			break
		}
		switch c := text[i]; c {
		case 't':
			out.WriteByte('\t')
		case 'n':
			out.WriteByte('\n')
		case 'r':
			out.WriteByte('\r')
		case 'f':
			out.WriteByte('\f')
		case 'u':
			unit, err := utf16Unit(text[i+1:])
			if err != nil {
				return "", err
			}
			i += 4
			r := rune(unit)
			// Two escapes may be the two halves of one character.
			if utf16.IsSurrogate(r) && strings.HasPrefix(text[i+1:], `\u`) {
				low, err := utf16Unit(text[i+3:])
				if err != nil {
					return "", err
				}
				if pair := utf16.DecodeRune(r, rune(low)); pair != utf8.RuneError {
					r = pair
					i += 6
				}
			}
			out.WriteRune(r) // half a pair becomes U+FFFD
		default:
			out.WriteByte(c)
		}
	}
	return out.String(), nil
}

func utf16Unit(text string) (uint16, error) {
	if len(text) < 4 {
		return 0, strconv.ErrSyntax
	}
	for _, c := range []byte(text[:4]) {
		if !isHex(c) {
			return 0, strconv.ErrSyntax
		}
	}
	unit, err := strconv.ParseUint(text[:4], 16, 16)
	return uint16(unit), err
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
