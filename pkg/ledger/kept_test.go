package ledger

import (
	"testing"

	"github.com/stretchr/testify/assert"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/resource"
)

// Room that is idle and kept for others is told, and for whom, as far as that may be read.
//
// Seen failing when the application was named; and by the simulation, when it was to whoever is of its own namespace: others who ask for the
// same are told the same.
func TestRoomThatIsKeptForOthersIsTold(t *testing.T) {
	kept := Kept{Amount: resource.Vector{CPU: 31_000}, First: types.NamespacedName{Namespace: "ns", Name: "big"}}
	assert.Equal(t, "; cpu 31 more is free and kept for another, until all that is needed there is free", kept.Text(v1.ResourceCPU, false))
	assert.Empty(t, kept.Text(v1.ResourceMemory, false), "none of it is kept")
	kept.Others = 2
	assert.Equal(t, "; cpu 31 more is free and kept for another and 2 more, until all that is needed there is free", kept.Text(v1.ResourceCPU, false))
	assert.Equal(t, "; cpu 31 more is free and kept for ns/big and 2 more, until all that is needed there is free", kept.Text(v1.ResourceCPU, true))
	assert.Empty(t, Kept{}.Text(v1.ResourceCPU, true))
}
