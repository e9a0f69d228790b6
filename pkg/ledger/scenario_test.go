package ledger

import (
	"testing"

	"retinue.dev/retinue/test/scenario"
)

// TestScenarios plays the files in testdata with the commands of script; what is indented is what the ledger says and wants
// done.
func TestScenarios(t *testing.T) {
	scenario.Run(t, func(t *testing.T) func(string) ([]string, error) {
		s := &script{world: newWorld(), plans: map[string]planned{}}
		return func(line string) ([]string, error) {
			said, err := s.run(line)
			s.checkSums(t)
			s.checkBooks(t)
			s.checkQueues(t)
			return said, err
		}
	})
}
