package ledger

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
)

// The pods found by a label are those that a look at all pods finds, while pods come, change their labels and go. Seen
// failing when a pod that came, and one whose labels changed, was not taken note of, and when one that went was not forgotten.
func TestPodsAreFoundByTheirLabels(t *testing.T) {
	for seed := range uint64(50) {
		chance := rand.New(rand.NewPCG(seed, 0))
		s := newScale(3)
		var pods []Pod
		labels := func() map[string]string {
			return map[string]string{"app": fmt.Sprint(chance.IntN(3)), "part": fmt.Sprint(chance.IntN(3))}
		}
		for step := range 200 {
			switch action := chance.IntN(4); {
			case step == 20: // from here on pods are found by the key
				leader := s.pod(Leader, "first", 1)
				s.tell(PodSeen{leader})
				d := definition(1, 1)
				d.Roles[0].Selector = map[string]string{"app": "nobody"}
				s.tell(Defined{leader.UID, d})
			case action == 0 && len(pods) > 0:
				i := chance.IntN(len(pods))
				s.tell(PodGone{pods[i].UID})
				pods = append(pods[:i], pods[i+1:]...)
			case action == 1 && len(pods) > 0:
				i := chance.IntN(len(pods))
				pods[i].Labels = labels()
				s.tell(PodSeen{pods[i]})
			default:
				p := s.pod(Lone, "", 1)
				p.Labels = labels()
				pods = append(pods, p)
				s.tell(PodSeen{p})
			}
			for value := range 3 {
				at := label{"ns", "app", fmt.Sprint(value)}
				want := map[types.UID]bool{}
				for _, p := range pods {
					if p.Labels["app"] == at.value {
						want[p.UID] = true
					}
				}
				got := map[types.UID]bool{}
				for uid, p := range s.members.selectors.labelled["app"][at] {
					got[uid] = true
					require.Same(t, s.members.pods[uid], p)
				}
				if step > 20 {
					require.Equal(t, want, got, "seed %d, step %d, %v", seed, step, at)
				}
			}
		}
	}
}
