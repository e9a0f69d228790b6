package sparksim

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"retinue.dev/retinue/pkg/spark"
)

// captures holds what real Spark versions created on a real cluster, one folder for each submission.
const captures = "../../pkg/spark/testdata/real"

// capture is one of them.
type capture struct {
	driver, executor     *v1.Pod
	properties, template *v1.ConfigMap // template is nil without a pod template
}

func readCapture(t *testing.T, dir string) capture {
	c := capture{driver: &v1.Pod{}, executor: &v1.Pod{}, properties: &v1.ConfigMap{}}
	read := func(name string, into any) {
		content, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.NoError(t, yaml.UnmarshalStrict(content, into))
	}
	read("driver.yaml", c.driver)
	read("executor.yaml", c.executor)
	read("configmap.yaml", c.properties)
	if spark.ConfigMaps(c.driver).Template != "" {
		c.template = &v1.ConfigMap{}
		read("template-configmap.yaml", c.template)
	}
	return c
}

// application is what was handed to the real spark-submit.
func (c capture) application(t *testing.T) Application {
	all, err := parseProperties(c.properties.Data[propertiesFile])
	require.NoError(t, err)
	for _, added := range []string{appIDKey, driverPodNameKey, overheadFactorKey} {
		delete(all, added)
	}
	version, err := spark.ParseVersion(c.driver.Labels[spark.LabelVersion])
	require.NoError(t, err)
	a := Application{Name: all[appNameKey], Namespace: c.driver.Namespace, Version: version, Language: all["spark.kubernetes.resource.type"], Properties: all}
	if c.template != nil {
		a.Template = c.template.Data[templateKey]
	}
	return a
}

func TestObjectsAreThoseOfRealSpark(t *testing.T) {
	folders, err := filepath.Glob(captures + "/*")
	require.NoError(t, err)
	require.NotEmpty(t, folders)
	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			real := readCapture(t, folder)
			application := real.application(t)
			objects, err := application.Objects(epoch)
			require.NoError(t, err)
			objects.Driver.UID = "3b7d3a4e-0000-4000-8000-000000000000"
			require.Empty(t, cmp.Diff(essenceOf(real.driver), essenceOf(objects.Driver)), "driver")

			objects.Properties.OwnerReferences = ownedBy(objects.Driver)
			require.Empty(t, cmp.Diff(settingsOf(t, real.properties), settingsOf(t, objects.Properties)), "properties")
			compareMaps(t, real.properties, objects.Properties)
			if real.template != nil {
				objects.Template.OwnerReferences = ownedBy(objects.Driver)
				compareMaps(t, real.template, objects.Template)
			}

			d := &driver{pod: objects.Driver}
			var template *v1.Pod
			if application.Template != "" {
				template, err = spark.ParseTemplate(application.Template)
				require.NoError(t, err)
			}
			d.pod.Spec.SchedulerName = real.driver.Spec.SchedulerName
			if application.Language == "python" { // Spark's example names itself
				d.pod.Annotations = map[string]string{AnnotationCode: "spark.app.name=PythonPi"}
			}
			require.NoError(t, d.configure(objects.Properties, template))
			require.Empty(t, cmp.Diff(essenceOf(real.executor), essenceOf(d.executor(1))), "executor")
		})
	}
}

// compareMaps compares all of a ConfigMap but the values of its data.
func compareMaps(t *testing.T, want, got *v1.ConfigMap) {
	t.Helper()
	of := func(m *v1.ConfigMap) []string {
		return append(slices.Sorted(maps.Keys(m.Data)), anonymous(m.Name), fmt.Sprint(*m.Immutable, m.Labels, len(m.OwnerReferences)),
			anonymous(fmt.Sprint(m.OwnerReferences[0].APIVersion, m.OwnerReferences[0].Kind, m.OwnerReferences[0].Name, *m.OwnerReferences[0].Controller)))
	}
	require.Empty(t, cmp.Diff(of(want), of(got)))
}

// settingsOf is what a ConfigMap's properties say, with what differs between any two submissions made equal.
func settingsOf(t *testing.T, configMap *v1.ConfigMap) map[string]string {
	all, err := parseProperties(configMap.Data[propertiesFile])
	require.NoError(t, err)
	for key, value := range all {
		all[key] = anonymous(value)
	}
	for _, key := range []string{"spark.app.submitTime", "spark.master"} {
		require.NotEmpty(t, all[key])
		all[key] = "ANY"
	}
	return all
}

// essence is a pod without what the API server adds and without what is about the JVM only.
type essence struct {
	Name, Namespace, Hostname, Owner, Scheduler, Restart, Account string
	Labels, NodeSelector                                          map[string]string
	Volumes, Tolerations                                          []string
	Containers                                                    []containerEssence
}

type containerEssence struct {
	Name, Image, Args string
	Env               map[string]string
	Ports, Mounts     []string
	Requests, Limits  string
}

// Identifiers, addresses and hosts, which are different in every submission.
var identifiers = []struct {
	form *regexp.Regexp
	word string
}{
	{regexp.MustCompile(`spark-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "spark-UUID"},
	{regexp.MustCompile(`spark-[0-9a-f]{32}`), "spark-ID"},
	{regexp.MustCompile(`-[0-9a-f]{15,16}\b`), "-UNIQUE"},
}

func anonymous(text string) string {
	for _, identifier := range identifiers {
		text = identifier.form.ReplaceAllString(text, identifier.word)
	}
	return text
}

func essenceOf(pod *v1.Pod) essence {
	e := essence{
		Name: anonymous(pod.Name), Namespace: pod.Namespace, Hostname: anonymous(pod.Spec.Hostname),
		Scheduler: pod.Spec.SchedulerName, Restart: string(pod.Spec.RestartPolicy), Account: pod.Spec.ServiceAccountName,
		Labels: map[string]string{}, NodeSelector: pod.Spec.NodeSelector,
	}
	for key, value := range pod.Labels {
		if key == spark.LabelVersion {
			value = strings.Join(strings.Split(value, ".")[:2], ".") // the third number is not ours to know
		}
		e.Labels[key] = anonymous(value)
	}
	for _, owner := range pod.OwnerReferences {
		e.Owner += anonymous(fmt.Sprint(owner.APIVersion, owner.Kind, owner.Name, *owner.Controller, owner.BlockOwnerDeletion))
	}
	for _, toleration := range pod.Spec.Tolerations {
		if toleration.TolerationSeconds == nil {
			e.Tolerations = append(e.Tolerations, fmt.Sprint(toleration.Key, toleration.Operator, toleration.Value, toleration.Effect))
		}
	}
	for _, volume := range pod.Spec.Volumes {
		switch source := volume.ConfigMap; {
		case volume.Projected != nil: // the service account's token
		case source != nil:
			text := volume.Name + " ConfigMap " + anonymous(source.Name)
			for _, item := range source.Items {
				mode := "default mode"
				if item.Mode != nil {
					mode = fmt.Sprintf("mode %o", *item.Mode)
				}
				text += fmt.Sprintf(" %s=%s %s", item.Path, item.Key, mode)
			}
			e.Volumes = append(e.Volumes, text)
		default:
			e.Volumes = append(e.Volumes, fmt.Sprint(volume.Name, " empty ", volume.EmptyDir != nil))
		}
	}
	for _, container := range pod.Spec.Containers {
		e.Containers = append(e.Containers, essenceOfContainer(container))
	}
	return e
}

func essenceOfContainer(container v1.Container) containerEssence {
	c := containerEssence{Name: container.Name, Image: container.Image, Env: map[string]string{}}
	for _, arg := range container.Args {
		if arg == "--class" {
			break // the application and what is its own
		}
		c.Args += arg + " "
	}
	for _, env := range container.Env {
		value := anonymous(env.Value)
		switch {
		case strings.HasPrefix(env.Name, "SPARK_JAVA_OPT_"), env.Name == "SPARK_DRIVER_POD_IP":
			continue
		case env.Name == "SPARK_USER", env.Name == "SPARK_DRIVER_URL":
			value = "ANY"
		case env.ValueFrom != nil:
			value = env.ValueFrom.FieldRef.FieldPath
		}
		c.Env[env.Name] = value
	}
	for _, port := range container.Ports {
		c.Ports = append(c.Ports, fmt.Sprint(port.Name, port.ContainerPort, port.Protocol, port.HostPort))
	}
	for _, mount := range container.VolumeMounts {
		if !strings.HasPrefix(mount.MountPath, "/var/run/secrets/") {
			c.Mounts = append(c.Mounts, mount.Name+" at "+anonymous(mount.MountPath))
		}
	}
	slices.Sort(c.Mounts)
	c.Requests, c.Limits = amounts(container.Resources.Requests), amounts(container.Resources.Limits)
	return c
}

func amounts(list v1.ResourceList) string {
	var text []string
	for _, name := range slices.Sorted(maps.Keys(list)) {
		quantity := list[name]
		text = append(text, fmt.Sprint(name, "=", quantity.String()))
	}
	return strings.Join(text, " ")
}
