package spark

import (
	"errors"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Bounds on the text of a quantity. Kubernetes' own parser takes any exponent, and computes 10 to that power: a few
// bytes such as 1e-1000000000 keep it busy for ever.
const (
	maxQuantityBytes = 64
	maxExponent      = 30
)

var errQuantity = errors.New("not a Kubernetes quantity such as 1500m or 2")

// parseQuantity reads a Kubernetes quantity that may come from anybody.
func parseQuantity(text string) (resource.Quantity, error) {
	if len(text) > maxQuantityBytes {
		return resource.Quantity{}, errQuantity
	}
	suffix := strings.TrimLeft(text, "+-.0123456789")
	if len(suffix) > 1 && (suffix[0] == 'e' || suffix[0] == 'E') && suffix[1] != 'i' {
		if exponent, err := strconv.Atoi(suffix[1:]); err != nil || exponent > maxExponent || exponent < -maxExponent {
			return resource.Quantity{}, errQuantity
		}
	}
	quantity, err := resource.ParseQuantity(text)
	if err != nil {
		return resource.Quantity{}, errQuantity
	}
	return quantity, nil
}
