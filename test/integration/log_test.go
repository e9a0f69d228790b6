package integration_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/test/cluster"
)

// step is the sentence of a line of the log.
var step = regexp.MustCompile(`\] "([^"]+)" `)

// TestAGangIsFollowedInTheLogWithOneGrep: at the level with which Retinue is installed every step of its life is a line with the same key and value,
// and nothing of what its user has set is in the log.
//
// Seen failing when evictions named the pod only, when the end was not told, and with the problem of a gang that cannot be defined.
func TestAGangIsFollowedInTheLogWithOneGrep(t *testing.T) {
	const secret = "s3cr3t-value"
	s := newStage(t, 1, 8)
	log := s.cluster.LogFile(cluster.Scheduler)
	before, err := os.Stat(log)
	require.NoError(t, err)
	s.simulate()
	s.priority("urgent", 1000)
	s.lone("first", 6)
	s.awaitBound("first")
	life := sized("life", 1, 3, 1)
	life.Properties["spark.hadoop.fs.s3a.secret.key"] = secret
	life.Properties["spark.kubernetes.executor.label.owner"] = secret
	driver := s.submit(life)
	s.awaitWaiting("life", "ClusterFull: ")
	wrong := sized("wrong", 1, 1, 1)
	wrong.Properties["spark.executor.memory"] = secret
	invalid := s.submit(wrong)
	s.awaitWaiting("wrong", "InvalidGang: ")
	require.NoError(t, s.client.CoreV1().Pods(metav1.NamespaceDefault).Delete(t.Context(), "first", metav1.DeleteOptions{}))
	s.awaitWhole("life", 3)
	s.member("urgent", 6, func(pod *v1.Pod) { pod.Spec.PriorityClassName = "urgent" })
	s.awaitBound("urgent")
	require.True(t, eventually(func() bool {
		_, err := s.client.CoreV1().Pods(metav1.NamespaceDefault).Get(t.Context(), driver.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	}))

	var lines []string
	follow := func(name string) (steps []string) {
		text, err := os.ReadFile(log)
		require.NoError(t, err)
		lines = strings.Split(string(text[before.Size():]), "\n")
		for _, line := range lines {
			if match := step.FindStringSubmatch(line); match != nil && strings.Contains(line, fmt.Sprintf(`gang="default/%s"`, name)) {
				steps = append(steps, match[1])
			}
		}
		return steps
	}
	require.True(t, eventually(func() bool {
		steps := follow(driver.Name)
		return len(steps) > 0 && steps[len(steps)-1] == "Gang ended"
	}), "%q", follow(driver.Name))
	// An eviction may be put off, and numbers of a wait may change.
	assert.Regexp(t, `^Gang defined(,Gang waits)+,Gang admitted,Leader bound(,Gang changed)?((,Eviction put off)*,Pod evicted){4},Gang ended$`, strings.Join(follow(driver.Name), ","))
	assert.Regexp(t, `^Gang cannot be defined(,Gang waits)+$`, strings.Join(follow(invalid.Name), ","))
	for _, line := range lines {
		assert.NotContains(t, line, secret)
		if match := step.FindStringSubmatch(line); match != nil && strings.Contains(line, `logger="Retinue"`) && strings.Contains(line, `"default/life-`) {
			assert.Contains(t, line, fmt.Sprintf(`gang="default/%s"`, driver.Name))
		}
	}
}
