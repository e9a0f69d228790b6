package sparksim

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"

	"retinue.dev/retinue/pkg/spark"
)

func TestPropertiesAreWrittenSoThatBothParsersReadThemBack(t *testing.T) {
	values := map[string]string{
		"spark.master":                         "k8s://https://10.0.0.1:443",
		"spark.app.name":                       "  padded and = odd # ! \\ name ",
		"spark.executor.memory":                "4g",
		"spark.kubernetes.node.selector.a b:c": "x",
		"spark.x":                              "tab\there\nline",
		"spark.y":                              "żółw ${spark.executor.memory}",
	}
	text := writeProperties("comment", epoch, values)
	all, err := parseProperties(text)
	require.NoError(t, err)
	require.Equal(t, values, all)
	known, err := spark.ParseProperties(text)
	require.NoError(t, err)
	require.Equal(t, spark.Properties{"spark.executor.memory": {Text: "4g"}, "spark.kubernetes.node.selector.a b:c": {Text: "x"}}, known)
}

func TestSubmissionCreatesTheDriverFirstAndItsPropertiesLast(t *testing.T) {
	client := fake.NewClientset()
	clock := clocktesting.NewFakeClock(epoch)
	submitter := Submitter{Client: client, Clock: clock, Delay: 5 * time.Second}
	done := make(chan error, 1)
	go func() {
		_, err := submitter.Submit(t.Context(), Application{Name: "Word Count", Template: "spec: {}"})
		done <- err
	}()
	require.Eventually(t, clock.HasWaiters, time.Minute, time.Millisecond)
	require.Equal(t, []string{"pods", "services"}, created(client))
	clock.Step(5 * time.Second)
	require.NoError(t, <-done)
	require.Equal(t, []string{"pods", "services", "configmaps", "configmaps"}, created(client))

	pods, err := client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	driver := &pods.Items[0]
	refs := spark.ConfigMaps(driver)
	properties, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), refs.Properties, metav1.GetOptions{})
	require.NoError(t, err)
	require.True(t, *properties.Immutable)
	require.Empty(t, properties.Labels)
	template, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), refs.Template, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "spec: {}", template.Data[templateKey])
	require.Regexp(t, `^word-count-[0-9a-f]{16}-driver$`, driver.Name)
	require.Regexp(t, `^spark-drv-[0-9a-f]{16}-conf-map$`, properties.Name)
	require.Regexp(t, `^spark-[0-9a-f]{32}$`, spark.AppID(driver))
}

func created(client *fake.Clientset) []string {
	var resources []string
	for _, action := range client.Actions() {
		if action.GetVerb() == "create" {
			resources = append(resources, action.GetResource().Resource)
		}
	}
	return resources
}

func TestASubmissionThatFailsLeavesNoDriver(t *testing.T) {
	client := fake.NewClientset()
	client.PrependReactor("create", "configmaps", func(k8stesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(v1.Resource("configmaps"), "x", nil)
	})
	_, err := Submitter{Client: client, Clock: clocktesting.NewFakeClock(epoch)}.Submit(t.Context(), Application{Name: "x"})
	require.ErrorContains(t, err, "submit x: create ConfigMap spark-drv-")
	pods, err := client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Empty(t, pods.Items)
}

func TestASubmissionDescribesItsGang(t *testing.T) {
	objects, err := Application{Name: "etl", Namespace: "data", Language: "python", Properties: map[string]string{
		"spark.kubernetes.scheduler.name":                     "retinue",
		"spark.driver.memory":                                 "4g",
		"spark.executor.memory":                               "8g",
		"spark.executor.cores":                                "4",
		"spark.executor.instances":                            "10",
		driverAnnotation + AnnotationRunTime:                  "30s",
		driverLabel + "team":                                  "data",
		"spark.kubernetes.driver.node.selector.example.com/a": "b",
	}}.Objects(epoch)
	require.NoError(t, err)
	driver := objects.Driver
	require.Equal(t, "retinue", driver.Spec.SchedulerName)
	require.Equal(t, map[string]string{"example.com/a": "b"}, driver.Spec.NodeSelector)
	require.Equal(t, "30s", driver.Annotations[AnnotationRunTime])
	require.Equal(t, "data", driver.Labels["team"])
	require.Equal(t, "5734Mi", driver.Spec.Containers[0].Resources.Requests.Memory().String())

	objects.Properties.OwnerReferences = []metav1.OwnerReference{{UID: driver.UID}}
	properties, err := spark.PropertiesOf(objects.Properties, driver)
	require.NoError(t, err)
	definition, err := spark.Infer(driver, properties, nil)
	require.NoError(t, err)
	require.Equal(t, 10, definition.Workers())
	require.Equal(t, "11468Mi", definition.Roles[0].Pod.Spec.Containers[0].Resources.Requests.Memory().String())
}

func TestLongNamesFit(t *testing.T) {
	short, err := Application{Name: "----a!!!!b----"}.Objects(epoch)
	require.NoError(t, err)
	require.Equal(t, "a-b", short.Driver.Labels[spark.LabelAppName])
	objects, err := Application{Name: "9 " + strings.Repeat("Very Long! ", 30), Template: "{}"}.Objects(epoch)
	require.NoError(t, err)
	require.LessOrEqual(t, len(objects.Service.Name), maxServiceLength)
	require.LessOrEqual(t, len(objects.Template.Name), maxNameLength)
	require.LessOrEqual(t, len(objects.Driver.Labels[spark.LabelAppName]), maxLabelLength)
}

func TestABadApplicationIsRefused(t *testing.T) {
	for want, application := range map[string]Application{
		"Name is empty":                  {},
		`Language "scala"`:               {Name: "x", Language: "scala"},
		`spark.driver.memory="1 gallon"`: {Name: "x", Properties: map[string]string{"spark.driver.memory": "1 gallon"}},
	} {
		_, err := application.Objects(epoch)
		require.ErrorContains(t, err, want)
	}
}
