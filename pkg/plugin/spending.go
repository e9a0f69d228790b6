package plugin

import (
	"sync"
	"time"

	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/plugin/metric"
	"retinue.dev/retinue/pkg/waiting"
)

var (
	attemptWork = metric.NewHistogram("attempt_work_nodes",
		"What one attempt to schedule a pod or a gang has cost the plugin, in nodes that the framework's filters were asked about for a rehearsal or for who would have to leave; "+
			"1600 looks of the placement at one node for one role count as one.",
		[]float64{1, 10, 100, 1000, 5000, placement.MostNodes, 10 * placement.MostNodes})
	namespaceWork = metric.NewGauge("namespace_work_ratio",
		"The share of a minute that costly answers for the pods of one namespace had taken when one more was asked for, the largest since the scheduler started: "+
			"rehearsals, who would have to leave, and answers of 10 ms and more.")
)

// spending is what attempts have cost, by namespace.
type spending struct {
	mu sync.Mutex // guards everything below
	// spells are the costly answers of the last minute: namespace -> the oldest first.
	spells map[string][]spell
	most   float64
}

// spell is one costly answer.
type spell struct {
	end  time.Time
	took time.Duration
}

// note takes the end of an attempt, or of an answer before one. filtered means that the framework's filters were asked.
func (s *spending) note(namespace string, work *placement.Work, now time.Time, took time.Duration, filtered bool) {
	attemptWork.Observe(float64(work.Spent()))
	if took <= 0 || !filtered && took < waiting.CostlyAnswer {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	began := now.Add(-took)
	for other, spells := range s.spells {
		for len(spells) > 0 && began.Sub(spells[0].end) >= time.Minute {
			spells = spells[1:]
		}
		if s.spells[other] = spells; len(spells) == 0 {
			delete(s.spells, other)
		}
	}
	had := time.Duration(0)
	for _, before := range s.spells[namespace] {
		had += min(before.took, before.end.Sub(began.Add(-time.Minute)))
	}
	if s.most = max(s.most, had.Seconds()/time.Minute.Seconds()); s.spells == nil {
		s.spells = map[string][]spell{}
	}
	s.spells[namespace] = append(s.spells[namespace], spell{now, took})
	namespaceWork.Set(s.most)
}
