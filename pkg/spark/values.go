package spark

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	apiresource "k8s.io/apimachinery/pkg/api/resource"

	"retinue.dev/retinue/pkg/resource"
)

// maxMiB bounds every amount of memory: 64 TiB. No node comes close, and sums of a few of them cannot overflow.
const maxMiB = 1 << 26

const mebibyte = 1 << 20

// settings reads typed values the way one Spark version does: keys that the version does not know are not there.
type settings struct {
	properties Properties
	version    Version
}

func (s settings) lookup(name string) (string, bool) {
	key, known := find(name)
	if !known || !s.version.AtLeast(key.Since) {
		return "", false
	}
	value, found := s.properties[name]
	return value.Text, found
}

func (s settings) has(name string) bool {
	_, found := s.lookup(name)
	return found
}

// text returns the first of the settings that is there.
func (s settings) text(names ...string) (value string, found bool) {
	for _, name := range names {
		if value, found = s.lookup(name); found {
			return value, true
		}
	}
	return "", false
}

// shown is what people may read of a text that came from the first of these settings that is there, or from none.
func (s settings) shown(text string, names ...string) string {
	for _, name := range names {
		if s.has(name) {
			return cmp.Or(s.properties[name].written, text)
		}
	}
	return text
}

// count reads a number of things; bounds are included.
func (s settings) count(name string, missing, least int) (int, error) {
	value, found := s.lookup(name)
	if !found {
		return missing, nil
	}
	n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 32)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, s.invalid(name, "number out of range")
	case err != nil:
		return 0, s.invalid(name, "not a whole number")
	case int(n) < least:
		return 0, s.invalid(name, fmt.Sprintf("less than %d", least))
	}
	return int(n), nil
}

func (s settings) flag(name string) (bool, error) {
	value, found := s.lookup(name)
	if !found {
		return false, nil
	}
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, s.invalid(name, "neither true nor false")
}

// factor reads a fraction of the heap.
func (s settings) factor(name string) (float64, error) {
	value, _ := s.lookup(name)
	// Java also accepts a type suffix, and no digit separators.
	number := strings.TrimSpace(value)
	if last := len(number) - 1; last > 0 && strings.IndexByte("dDfF", number[last]) >= 0 {
		number = number[:last]
	}
	factor, err := strconv.ParseFloat(number, 64)
	if err != nil || strings.Contains(number, "_") || math.IsNaN(factor) || math.IsInf(factor, 0) {
		return 0, s.invalid(name, "not a number")
	}
	if factor < 0 {
		return 0, s.invalid(name, "negative")
	}
	return factor, nil
}

// mebibytes reads an amount of memory; a number without suffix is in MiB. least is in MiB.
func (s settings) mebibytes(name string, least int64) (int64, error) {
	value, _ := s.lookup(name)
	return s.size(name, value, mebibyte, least)
}

// size reads a byte string and returns it in whole MiB. unit is what a number without suffix counts, in bytes.
func (s settings) size(name, value string, unit, least int64) (int64, error) {
	bytes, err := byteString(value, unit)
	if err != nil {
		return 0, s.invalid(name, err.Error())
	}
	switch mib := bytes / mebibyte; {
	case mib > maxMiB:
		return 0, s.invalid(name, "more than 64 TiB")
	case mib < least:
		return 0, s.invalid(name, fmt.Sprintf("less than %dm", least))
	default:
		return mib, nil
	}
}

// quantity reads a Kubernetes quantity.
func (s settings) quantity(name string) (apiresource.Quantity, error) {
	value, _ := s.lookup(name)
	quantity, err := resource.Parse(value)
	if err != nil {
		return apiresource.Quantity{}, s.invalid(name, err.Error())
	}
	if quantity.Sign() < 0 {
		return apiresource.Quantity{}, s.invalid(name, "negative")
	}
	return quantity, nil
}

// byteUnits is suffix -> bytes. Spark's units are powers of 1024 whatever the case.
var byteUnits = map[string]int64{
	"b": 1,
	"k": 1 << 10, "kb": 1 << 10,
	"m": 1 << 20, "mb": 1 << 20,
	"g": 1 << 30, "gb": 1 << 30,
	"t": 1 << 40, "tb": 1 << 40,
	"p": 1 << 50, "pb": 1 << 50,
}

// byteString reads a Spark byte string such as "512m" or "4g". It is no Kubernetes quantity: there "512m" would be
// half a byte. unit is what a number without suffix counts, in bytes.
func byteString(text string, unit int64) (int64, error) {
	lower := strings.ToLower(strings.TrimSpace(text))
	digits := 0
	for digits < len(lower) && '0' <= lower[digits] && lower[digits] <= '9' {
		digits++
	}
	if suffix := lower[digits:]; suffix != "" {
		found := false
		if unit, found = byteUnits[suffix]; !found {
			return 0, errors.New("not a size such as 512m or 4g (a whole number and one of b, k, m, g, t, p)")
		}
	}
	if digits == 0 {
		return 0, errors.New("not a size such as 512m or 4g (a whole number and one of b, k, m, g, t, p)")
	}
	n, err := strconv.ParseInt(lower[:digits], 10, 64)
	if err != nil || n > math.MaxInt64/unit {
		return 0, errors.New("size out of range")
	}
	return n * unit, nil
}

// invalid is the one form of an error about a setting that is there. The key is one that this package reads, so what is
// written there may be shown.
func (s settings) invalid(key, why string) error {
	return fmt.Errorf("%s=%s: %s", key, quote(s.properties[key].shown()), why)
}
