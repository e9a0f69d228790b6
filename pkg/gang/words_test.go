package gang

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestKeysAndVerdictsRead(t *testing.T) {
	assert.Equal(t, "ns/app", Key{"ns", "app"}.String())
	assert.Equal(t, "ClusterFull", Verdict{Reason: ClusterFull}.String())
	assert.Equal(t, "ClusterFull: 3 of 4", Verdict{Reason: ClusterFull, Message: "3 of 4"}.String())
	assert.True(t, Verdict{}.Passes())
	assert.False(t, Verdict{Reason: ClusterFull}.Passes())
}

// Waiting helps against everything but these.
func TestPermanentReasons(t *testing.T) {
	permanent := map[Reason]bool{InvalidGang: true, NeverFitsNode: true, NeverFitsCluster: true, NeverFitsQueue: true, LeaderGone: true}
	for _, reason := range []Reason{
		InvalidGang, NeverFitsNode, NeverFitsCluster, NeverFitsQueue, QueueClosed, QueueLimit, Reclaiming, ClusterFull, Fragmented, Constraints, BehindOthers, GangIncomplete, GangGuessed,
		LeaderGone, NotSynced, GangAdmitted, PredictionCorrected, SlotsReleased, Degraded,
	} {
		assert.Equal(t, permanent[reason], Verdict{Reason: reason}.Permanent(), reason)
	}
	assert.False(t, Verdict{}.Permanent())
}

func TestDefinitionsCountTheirWorkersAndFindTheirRoles(t *testing.T) {
	d := twoRoles()
	assert.Equal(t, 4, d.Workers())
	assert.Zero(t, Definition{}.Workers())
	assert.Same(t, &d.Roles[1], d.Role("helper"))
	assert.Nil(t, d.Role("unheard of"))
}
