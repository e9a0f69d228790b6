package sparksim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/magiconair/properties"
)

// writeProperties is the text that java.util.Properties.store makes, except that the keys are sorted.
func writeProperties(comment string, now time.Time, values map[string]string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "#%s\n#%s\n", comment, now.Format("Mon Jan 02 15:04:05 MST 2006"))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		text.WriteString(escape(key, true))
		text.WriteByte('=')
		text.WriteString(escape(values[key], false))
		text.WriteByte('\n')
	}
	return text.String()
}

// escape writes a key or a value. In a value only the leading space would be lost otherwise.
func escape(text string, isKey bool) string {
	var out strings.Builder
	for i, r := range text {
		switch r {
		case ' ':
			if isKey || i == 0 {
				out.WriteByte('\\')
			}
			out.WriteByte(' ')
		case '\t':
			out.WriteString(`\t`)
		case '\n':
			out.WriteString(`\n`)
		case '\r':
			out.WriteString(`\r`)
		case '\f':
			out.WriteString(`\f`)
		case '\\', '=', ':', '#', '!':
			out.WriteByte('\\')
			out.WriteRune(r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

// parseProperties reads all of a properties file, where spark.ParseProperties keeps only what concerns a gang.
func parseProperties(text string) (map[string]string, error) {
	loader := properties.Loader{Encoding: properties.UTF8, DisableExpansion: true}
	parsed, err := loader.LoadBytes([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("spark.properties: %w", err)
	}
	return parsed.Map(), nil
}
