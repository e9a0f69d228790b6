package yarn

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
)

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

func cloneSaid(a said) said { return maps.Clone(a) }

var (
	percentOf = regexp.MustCompile(`^(-?\d+(?:\.\d+)?)\s*%\s*([a-z]*)$`)
	mbOf      = regexp.MustCompile(`^(-?\d+)(?:\.\d*)?\s*mb$`)
	vcoresOf  = regexp.MustCompile(`^(-?\d+)(?:\.\d*)?\s*vcores$`)
)

// amount reads resources as the FairScheduler writes them: "10000 mb, 10 vcores", "40%", "50% memory, 40% cpu", or
// "memory-mb=50%, vcores=10". Percentages are of the cluster.
func (f *fairReading) amount(setting, text string) (said, error) {
	amounts := said{}
	parts := listOf(strings.ToLower(text))
	if strings.Contains(text, "=") {
		parts = listOf(text)
	}
	if len(parts) == 0 {
		return nil, badValue(setting, text, "amounts, such as 10000 mb, 10 vcores")
	}
	for _, part := range parts {
		if err := f.addAmount(amounts, setting, part, len(parts) == 1); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", setting, shown(text), err)
		}
	}
	return amounts, nil
}

// addAmount reads one part. only tells whether it is the only one.
func (f *fairReading) addAmount(amounts said, setting, part string, only bool) error {
	if key, value, found := strings.Cut(part, "="); found {
		name, known := resourceNamed(strings.TrimSpace(key))
		if !known {
			f.strange(setting, []string{strings.TrimSpace(key)})
			return nil
		}
		value = strings.TrimSpace(value)
		if percent, relative := strings.CutSuffix(value, "%"); relative {
			return f.percent(amounts, name, strings.TrimSpace(percent))
		}
		return addWhole(amounts, name, value)
	}
	if match := percentOf.FindStringSubmatch(part); match != nil {
		switch {
		case match[2] == "" && only:
			names := f.options.Cluster.names()
			if len(names) == 0 {
				return errNoCluster
			}
			for _, name := range names {
				if err := f.percent(amounts, name, match[1]); err != nil {
					return err
				}
			}
			return nil
		case match[2] == "memory":
			return f.percent(amounts, v1.ResourceMemory, match[1])
		case match[2] == "cpu" || match[2] == "vcores":
			return f.percent(amounts, v1.ResourceCPU, match[1])
		}
	}
	if match := mbOf.FindStringSubmatch(part); match != nil {
		return addWhole(amounts, v1.ResourceMemory, match[1])
	}
	if match := vcoresOf.FindStringSubmatch(part); match != nil {
		return addWhole(amounts, v1.ResourceCPU, match[1])
	}
	return fmt.Errorf("%s is no amount", shown(part))
}

func addWhole(amounts said, name v1.ResourceName, text string) error {
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil || value < 0 {
		return fmt.Errorf("%s is no amount of %s", shown(text), name)
	}
	amounts[name] = amountSaid{amount: value}
	return nil
}

// percent of the cluster.
func (f *fairReading) percent(amounts said, name v1.ResourceName, text string) error {
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(value) || value < 0 {
		return fmt.Errorf("%s is no percentage", shown(text))
	}
	if f.options.Cluster == nil {
		return errNoCluster
	}
	fraction := value / 100
	amounts[name] = amountSaid{amount: share(f.options.Cluster[name], fraction), fraction: fraction, double: true}
	return nil
}
