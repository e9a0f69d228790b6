package spark

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestTheUserIsWhomThePodNames(t *testing.T) {
	driver := map[string]string{LabelRole: RoleDriver, LabelApp: "spark-1"}
	labelled := map[string]string{LabelRole: RoleDriver, LabelApp: "spark-1", LabelUser: "ann"}
	annotated := map[string]string{LabelUser: "bob@example.org"}
	container := func(name, user string) v1.Container {
		return v1.Container{Name: name, Env: []v1.EnvVar{{Name: "HOME", Value: "/"}, {Name: EnvironmentUser, Value: user}}}
	}
	elsewhere := v1.Container{Name: DriverContainer, Env: []v1.EnvVar{{Name: EnvironmentUser, ValueFrom: &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.name"}}}}}
	tests := map[string]struct {
		labels, annotations map[string]string
		containers          []v1.Container
		want                string
	}{
		"nobody":                    {},
		"the label goes before all": {labelled, annotated, []v1.Container{container(DriverContainer, "cid")}, "ann"},
		"the annotation goes before the variable": {driver, annotated, []v1.Container{container(DriverContainer, "cid")}, "bob@example.org"},
		"Spark's variable":                        {driver, nil, []v1.Container{container(DriverContainer, "cid")}, "cid"},
		"a container that the template has named": {driver, nil, []v1.Container{container("main", "cid")}, "cid"},
		"Spark's container before a sidecar":      {driver, nil, []v1.Container{container("side", "eve"), container(DriverContainer, "cid")}, "cid"},
		"the first of containers with odd names":  {driver, nil, []v1.Container{container("main", "cid"), container("side", "eve")}, "cid"},
		"what stands elsewhere is not known":      {driver, nil, []v1.Container{elsewhere}, ""},
		"the variable of a pod that is not Spark": {nil, nil, []v1.Container{container(DriverContainer, "cid")}, ""},
		"a name with room around it":              {nil, map[string]string{LabelUser: " ann\n"}, nil, "ann"},
		"a name that never ends":                  {nil, map[string]string{LabelUser: strings.Repeat("a", 252) + "é and more"}, nil, strings.Repeat("a", 252)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: test.labels, Annotations: test.annotations}, Spec: v1.PodSpec{Containers: test.containers}}
			require.Equal(t, test.want, User(pod))
		})
	}
}

// TestSparkNamesItsUser: driver and executors of real versions say the same.
func TestSparkNamesItsUser(t *testing.T) {
	paths, err := filepath.Glob("testdata/real/*/*.yaml")
	require.NoError(t, err)
	pods := 0
	for _, path := range paths {
		if name := filepath.Base(path); name == "driver.yaml" || name == "executor.yaml" {
			require.Equal(t, "root", User(read[v1.Pod](t, path)), path)
			pods++
		}
	}
	require.NotZero(t, pods)
}
