package yarn

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds of what is read, which no file of a real cluster comes near.
const (
	// MaxBytes of a file.
	MaxBytes = 4 << 20
	// maxDepth of elements in each other.
	maxDepth = 64
	// maxElements of a file.
	maxElements = 200_000
	// maxShown is how many bytes of what a file says are repeated in a message.
	maxShown = 80
)

// element of an XML file.
type element struct {
	name     string
	attrs    map[string]string
	text     string // what stands directly in it, trimmed
	children []*element
	line     int // from 1
}

// child is the text of the last child of that name, and whether there is one.
func (e *element) child(name string) (text string, found bool) {
	for _, c := range e.children {
		if c.name == name {
			text, found = c.text, true
		}
	}
	return text, found
}

// shown is the beginning of what a file says, in quotes.
func shown(text string) string {
	if len(text) > maxShown {
		text = text[:maxShown] + "…"
	}
	return fmt.Sprintf("%q", text)
}

// parse reads the root element of a file. Its errors name the line.
func parse(text []byte) (*element, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("more than %d bytes", MaxBytes)
	}
	decoder := xml.NewDecoder(bytes.NewReader(text))
	decoder.CharsetReader = func(charset string, _ io.Reader) (io.Reader, error) {
		return nil, fmt.Errorf("encoding %s: only UTF-8 is read", shown(charset))
	}
	var root *element
	var open []*element
	count := 0
	for {
		token, err := decoder.Token()
		line, _ := decoder.InputPos()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, broken(err, line, open)
		}
		switch token := token.(type) {
		case xml.Directive:
			if bytes.Contains(token, []byte("ENTITY")) {
				return nil, fmt.Errorf("line %d: entities are not read: %s", line, shown(string(token)))
			}
		case xml.StartElement:
			e := &element{name: token.Name.Local, line: line}
			switch count++; {
			case count > maxElements:
				return nil, fmt.Errorf("line %d: more than %d elements", line, maxElements)
			case len(open) >= maxDepth:
				return nil, fmt.Errorf("line %d: <%s> is the %dth element in another, and %d are read", line, e.name, maxDepth+1, maxDepth)
			case e.name == "include":
				return nil, fmt.Errorf("line %d: <include> is not followed: put what it includes into one file", line)
			}
			for _, attr := range token.Attr {
				if e.attrs == nil {
					e.attrs = map[string]string{}
				}
				e.attrs[attr.Name.Local] = strings.TrimSpace(attr.Value)
			}
			if len(open) > 0 {
				above := open[len(open)-1]
				above.children = append(above.children, e)
			} else if root = e; count > 1 {
				return nil, fmt.Errorf("line %d: <%s> stands after the end", line, e.name)
			}
			open = append(open, e)
		case xml.EndElement:
			last := open[len(open)-1]
			last.text = strings.TrimSpace(last.text)
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				open[len(open)-1].text += string(token)
			}
		}
	}
	switch {
	case root == nil:
		return nil, errors.New("no element in it")
	case len(open) > 0:
		return nil, fmt.Errorf("<%s> of line %d does not end", open[len(open)-1].name, open[len(open)-1].line)
	}
	return root, nil
}

// broken says of XML that is none where that is, and in which element.
func broken(err error, line int, open []*element) error {
	text := err.Error()
	if syntax := (*xml.SyntaxError)(nil); errors.As(err, &syntax) {
		text = syntax.Msg
	}
	if len(open) > 0 {
		return fmt.Errorf("line %d: in <%s>: %s", line, open[len(open)-1].name, text)
	}
	return fmt.Errorf("line %d: %s", line, text)
}

// maxExpansions of a variable in a variable, as in Hadoop.
const maxExpansions = 20

// properties of a Hadoop configuration. Variables are replaced as Hadoop does, but only by other properties of the file.
func properties(root *element) (*settings, error) {
	if root.name != "configuration" {
		return nil, fmt.Errorf("line %d: <%s>: want <configuration>", root.line, root.name)
	}
	found := newSettings()
	final := map[string]bool{}
	var read func(e *element) error
	read = func(e *element) error {
		for _, p := range e.children {
			if p.name == "configuration" {
				if err := read(p); err != nil {
					return err
				}
				continue
			}
			if p.name != "property" {
				return fmt.Errorf("line %d: <%s>: want <property>", p.line, p.name)
			}
			name, named := p.child("name")
			if !named {
				name, named = p.attrs["name"], p.attrs["name"] != ""
			}
			value, valued := p.child("value")
			if !valued {
				value = p.attrs["value"]
			}
			if !named || name == "" {
				return fmt.Errorf("line %d: <property> has no <name>; its value is %s", p.line, shown(value))
			}
			if _, twice := found.values[name]; twice {
				found.note(name, Changed, "it stands there more than once, and the last counts")
				if final[name] {
					continue
				}
			}
			found.put(name, value)
			isFinal, _ := p.child("final")
			final[name] = final[name] || isFinal == "true"
		}
		return nil
	}
	if err := read(root); err != nil {
		return nil, err
	}
	written := found.values
	found.values = make(map[string]string, len(written))
	for name, value := range written {
		expanded, err := expand(value, written)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		found.values[name] = expanded
	}
	return found, nil
}

// expand replaces ${name} by the property of that name. One that does not exist stays as it is.
func expand(value string, written map[string]string) (string, error) {
	from := 0
	for range maxExpansions {
		start := strings.Index(value[from:], "${")
		if start < 0 {
			return value, nil
		}
		start += from
		length := strings.Index(value[start:], "}")
		if length < 0 {
			return value, nil
		}
		replacement, known := written[value[start+2:start+length]]
		if !known {
			from = start + length
			continue
		}
		if value = value[:start] + replacement + value[start+length+1:]; len(value) > 1<<16 {
			break
		}
	}
	if !strings.Contains(value[from:], "${") {
		return value, nil
	}
	return "", fmt.Errorf("%s: variables in variables do not end", shown(value))
}
