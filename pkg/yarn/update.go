package yarn

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// withPercentage is a line with an amount and the percentage that it is: indentation and name, amount, blanks, comment.
var withPercentage = regexp.MustCompile(`^(\s+["']?([\w./-]+)["']?:\s*)(["']?[\w.+-]+["']?)(\s+# *([0-9.eE+-]+)% (of the cluster|of the nodes with label (\S+?))(, in double precision)?)(\r?)$`)

// Update computes the amounts of manifests anew that have a percentage beside them, and leaves every other byte as it is. Of labels
// that are not listed nothing changes. changed is how many amounts are others than before.
func Update(text []byte, cluster Resources, labels map[string]Resources) (updated []byte, changed int, err error) {
	if len(text) > MaxBytes {
		return nil, 0, fmt.Errorf("more than %d bytes", MaxBytes)
	}
	lines := strings.Split(string(text), "\n")
	found := false
	for i, line := range lines {
		match := withPercentage.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		found = true
		before, name, old, comment, percent, label, double, end := match[1], v1.ResourceName(match[2]), match[3], match[4], match[5], match[7], match[8] != "", match[9]
		nodes, known := cluster, true
		if label != "" {
			nodes, known = labels[label]
		}
		if !known {
			continue
		}
		fraction, err := fractionOf(percent, double)
		if err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", i+1, err)
		}
		total, there := nodes[name]
		if !there {
			return nil, 0, fmt.Errorf("line %d: the size of the cluster says nothing of %s", i+1, name)
		}
		amount := quantity(name, share(total, fraction))
		written := amount.String()
		// Digits alone need quotes; what somebody has quoted besides stays quoted.
		switch bare := strings.Trim(old, `"'`); {
		case strings.Trim(written, "0123456789") == "":
			written = `"` + written + `"`
		case bare != old && strings.Trim(bare, "0123456789") != "":
			written = old[:1] + written + old[:1]
		}
		if written == old {
			continue
		}
		lines[i] = before + written + comment + end
		changed++
	}
	if !found {
		return nil, 0, errors.New("no amount in it has a percentage beside it, as kubectl retinue convert writes them")
	}
	return []byte(strings.Join(lines, "\n")), changed, nil
}
