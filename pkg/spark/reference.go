package spark

import (
	"fmt"
	"regexp"
	"strings"
)

// A Spark setting may refer to others: ${spark.driver.memory} stands for that setting's value, ${env:NAME} and
// ${system:NAME} for an environment variable or a Java property of the driver. This happens when Spark reads the
// setting, not when it reads the file.

// reference matches one reference and its two parts: the prefix, if any, and the name.
var reference = regexp.MustCompile(`\$\{(?:(\w+?):)?(\S+?)\}`)

// maxResolved bounds the text that resolving one value may go through, in bytes. Two settings that refer to a third
// twice each would otherwise grow exponentially.
const maxResolved = 64 << 10

// resolve replaces the references in the value of a key. all is every setting of the application.
func resolve(key, value string, all map[string]string) (string, error) {
	r := resolver{key: key, all: all, left: maxResolved, open: map[string]bool{key: true}}
	return r.resolve(value)
}

type resolver struct {
	key  string // for errors
	all  map[string]string
	left int             // bytes that may still be gone through
	open map[string]bool // the names being resolved, to find circles
}

func (r *resolver) resolve(value string) (string, error) {
	// An empty value counts as well: there may be very many references to it.
	if r.left -= len(value) + 1; r.left < 0 {
		return "", fmt.Errorf("%s: more than %d bytes once its references are resolved", r.key, maxResolved)
	}
	matches := reference.FindAllStringSubmatchIndex(value, -1)
	if matches == nil {
		return value, nil
	}
	var out strings.Builder
	end := 0
	for _, match := range matches {
		text, prefix, name := value[match[0]:match[1]], "", value[match[4]:match[5]]
		if match[2] >= 0 {
			prefix = value[match[2]:match[3]]
		}
		replacement, err := r.replacement(text, prefix, name)
		if err != nil {
			return "", err
		}
		out.WriteString(value[end:match[0]])
		out.WriteString(replacement)
		end = match[1]
	}
	out.WriteString(value[end:])
	return out.String(), nil
}

// replacement is what one reference stands for: itself, if nothing is known about it.
func (r *resolver) replacement(text, prefix, name string) (string, error) {
	if prefix == "env" || prefix == "system" {
		return "", fmt.Errorf("%s: %s refers to the driver's surroundings, which are not known before it runs", r.key, quote(text))
	}
	value, found := r.all[name]
	if !found {
		if known, isKey := find(name); isKey && !known.family() {
			value, found = sparkDefault(known)
		}
	}
	if prefix != "" || !found || !strings.HasPrefix(name, "spark.") {
		return text, nil
	}
	if r.open[name] {
		return "", fmt.Errorf("%s: %s refers to itself", r.key, quote(text))
	}
	r.open[name] = true
	defer delete(r.open, name)
	return r.resolve(value)
}

// sparkDefault is the value that Spark uses for a setting that is not there. Defaults that depend on other settings
// are in words, with a space, and not known here.
func sparkDefault(key Key) (string, bool) {
	return key.Default, key.Default != "" && !strings.Contains(key.Default, " ") && key.Default != unlimited
}

const unlimited = "unlimited"
