package resource

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	apiresource "k8s.io/apimachinery/pkg/api/resource"
)

// Bounds on the text of a quantity. Kubernetes' own parser takes any exponent, and computes 10 to that power: a few
// bytes such as 1e-1000000000 keep it busy for ever.
const (
	maxQuantityBytes = 64
	maxExponent      = 30
)

// MaxNames is how many different resources one pod, PodGroup or quota may name. Whatever compares amounts costs as much as
// there are names, on every node; real pods have four.
const MaxNames = 32

// ErrQuantity is returned for a text that is no quantity, or one that Parse does not touch.
var ErrQuantity = errors.New("not a Kubernetes quantity such as 1500m or 2")

// Parse reads a Kubernetes quantity that may come from anybody.
func Parse(text string) (apiresource.Quantity, error) {
	text = strings.TrimSpace(text)
	if len(text) > maxQuantityBytes {
		return apiresource.Quantity{}, ErrQuantity
	}
	suffix := strings.TrimLeft(text, "+-.0123456789")
	if len(suffix) > 1 && (suffix[0] == 'e' || suffix[0] == 'E') && suffix[1] != 'i' {
		if exponent, err := strconv.Atoi(suffix[1:]); err != nil || exponent > maxExponent || exponent < -maxExponent {
			return apiresource.Quantity{}, ErrQuantity
		}
	}
	quantity, err := apiresource.ParseQuantity(text)
	if err != nil {
		return apiresource.Quantity{}, ErrQuantity
	}
	return quantity, nil
}

// QuantityError says which quantity of a document cannot be decoded.
type QuantityError struct {
	Field string // as in a manifest: spec.minResources[cpu]
	Value string
}

func (e QuantityError) Error() string {
	return fmt.Sprintf("%s=%s: %v", e.Field, quote(e.Value), ErrQuantity)
}

func (e QuantityError) Unwrap() error { return ErrQuantity }

// quote shows a value that may be of any length on one line.
func quote(value string) string {
	if len(value) > maxQuantityBytes {
		return strconv.Quote(strings.ToValidUTF8(value[:maxQuantityBytes], "")) + "…"
	}
	return strconv.Quote(value)
}

// Check makes sure that a document, as a JSON or YAML decoder leaves it, can be decoded into a T without its quantities
// keeping the decoder busy for ever: Quantity's own decoder computes whatever exponent it reads. A document whose fields are of
// another kind than those of T passes; decoding it is an error.
func Check[T any](document any) error {
	return check("", document, reflect.TypeFor[T]())
}

var quantityType = reflect.TypeFor[apiresource.Quantity]()

// isQuantity tells whether a type is decoded as a quantity: Quantity itself, and what embeds nothing but one.
func isQuantity(t reflect.Type) bool {
	return t == quantityType ||
		t.Kind() == reflect.Struct && t.NumField() == 1 && t.Field(0).Anonymous && t.Field(0).Type == quantityType
}

func check(path string, value any, t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if isQuantity(t) {
		return checkQuantity(path, value)
	}
	switch value := value.(type) {
	case []any:
		if t.Kind() != reflect.Slice && t.Kind() != reflect.Array {
			return nil
		}
		for i, item := range value {
			if err := check(fmt.Sprintf("%s[%d]", path, i), item, t.Elem()); err != nil {
				return err
			}
		}
	case map[string]any:
		// In order, so that of several mistakes it is always the same one that is told.
		for _, name := range slices.Sorted(maps.Keys(value)) {
			at, inner := path+"["+name+"]", t
			switch t.Kind() {
			case reflect.Map:
				inner = t.Elem()
			case reflect.Struct:
				var found bool
				if inner, found = fieldOf(t, name); !found {
					continue
				}
				at = strings.TrimPrefix(path+"."+name, ".")
			default:
				return nil
			}
			if err := check(at, value[name], inner); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkQuantity(path string, value any) error {
	if value == nil {
		return nil
	}
	text := ""
	switch value := value.(type) {
	case []any, map[string]any, bool:
		return nil // no quantity, which the decoder says
	case string:
		text = value
	default:
		text = fmt.Sprint(value)
	}
	if _, err := Parse(text); err != nil {
		return QuantityError{path, text}
	}
	return nil
}

// fieldOf finds the field of a struct that a decoder may write under a name. Some decoders do not mind the case.
func fieldOf(t reflect.Type, name string) (reflect.Type, bool) {
	for i := range t.NumField() {
		field := t.Field(i)
		tag, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous && tag == "" {
			inner := field.Type
			for inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				if found, in := fieldOf(inner, name); in {
					return found, true
				}
			}
			continue
		}
		if tag == "" {
			tag = field.Name
		}
		if strings.EqualFold(tag, name) {
			return field.Type, true
		}
	}
	return nil, false
}
