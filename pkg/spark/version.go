package spark

import (
	"fmt"
	"strconv"
	"strings"
)

// Version is a Spark release line, such as 4.1. The zero Version means that it is not known.
type Version struct{ Major, Minor int }

// The release lines between which the rules differ.
var (
	v33 = Version{3, 3} // the oldest supported: per-role overhead factors and scheduler names
	v34 = Version{3, 4} // ports of the template are kept
	v40 = Version{4, 0} // configurable overhead floor, placeholders in labels
	v41 = Version{4, 1} // lifetime bound on executors, placeholder in images

	// Latest is the newest release line whose pods were compared with this package's predictions.
	Latest = Version{4, 3}
)

// ParseVersion reads a version such as "4.1.4", "4.0.0-preview2" or "3.5.1-amzn-0"; only the first two numbers count.
func ParseVersion(text string) (Version, error) {
	parts := strings.SplitN(text, ".", 3)
	if len(parts) >= 2 {
		digits := parts[1]
		if len(parts) == 2 {
			digits, _, _ = strings.Cut(digits, "-")
		}
		major, majorErr := strconv.ParseUint(parts[0], 10, 16)
		minor, minorErr := strconv.ParseUint(digits, 10, 16)
		if majorErr == nil && minorErr == nil && major > 0 {
			return Version{int(major), int(minor)}, nil
		}
	}
	return Version{}, fmt.Errorf("spark version %s: want numbers such as 4.1.0", quote(text))
}

// String is the form "4.1"; "unknown" for the zero Version.
func (v Version) String() string {
	if v == (Version{}) {
		return "unknown"
	}
	return fmt.Sprintf("%d.%d", v.Major, v.Minor)
}

// AtLeast tells whether v is w or a later release line.
func (v Version) AtLeast(w Version) bool {
	return v.Major > w.Major || v.Major == w.Major && v.Minor >= w.Minor
}
