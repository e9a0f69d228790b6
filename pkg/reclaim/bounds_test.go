package reclaim

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Seen failing with all/100*percent, which is zero for fewer than a hundred units: GPUs were taken back whatever was in use.
func TestFewUnitsHaveAUtilizationToo(t *testing.T) {
	for name, test := range map[string]struct {
		used, all, percent int64
		want               bool
	}{
		"no GPU is used":          {0, 8, 80, false},
		"too few are":             {6, 8, 80, false},
		"enough are":              {7, 8, 80, true},
		"all are":                 {8, 8, 100, true},
		"any use is enough":       {0, 8, 0, true},
		"products do not wrap":    {math.MaxInt64 / 2, math.MaxInt64, 80, false},
		"nor where it is reached": {math.MaxInt64, math.MaxInt64, 100, true},
		"overbooked":              {-1, 8, 80, false},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, test.want, reaches(test.used, test.all, test.percent)) })
	}
}

// counting is a selector that counts how often it is asked.
type counting struct {
	labels.Selector
	asked *int
}

func (c counting) Matches(labels.Labels) bool {
	*c.asked++
	return false
}

// Seen failing without the bound: as many pods as budgets, and the answer takes the square of it.
func TestBudgetsAreAskedOnlySoOften(t *testing.T) {
	asked, left := 0, budgetsAsked
	var budgets []Budget
	for i := range 400 {
		budgets = append(budgets, Budget{Name: fmt.Sprint(i), Selector: counting{asked: &asked}, Allowed: 1})
	}
	pods := []Pod{{Object: &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}}}
	protected := 0
	for range 400 {
		if (&Victim{Pods: pods}).protected(budgets, &left) {
			protected++
		}
	}
	assert.LessOrEqual(t, asked, budgetsAsked)
	assert.Equal(t, 400-budgetsAsked/400, protected, "whoever could not be asked about counts as protected")
}
