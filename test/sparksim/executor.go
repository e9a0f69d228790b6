package sparksim

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/spark"
)

// executor is the pod of one executor as Spark's driver creates it. Of its environment only what a scheduler or a
// user can make use of is there.
func (d *driver) executor(id int) *v1.Pod {
	name := fmt.Sprintf("%s-exec-%d", d.prefix, id)
	pod := d.role.Pod.DeepCopy()
	controller := true
	pod.ObjectMeta = metav1.ObjectMeta{
		Namespace: d.pod.Namespace,
		Name:      name,
		Labels:    pod.Labels,
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "v1", Kind: "Pod", Name: d.pod.Name, UID: d.pod.UID, Controller: &controller,
		}},
	}
	pod.Labels[spark.LabelExecutorID] = strconv.Itoa(id)
	pod.Spec.Hostname = hostname(name)
	if pod.Spec.SchedulerName == v1.DefaultSchedulerName {
		pod.Spec.SchedulerName = "" // the API server says so itself
	}
	const localDir = "spark-local-dir-1"
	pod.Spec.Volumes = append(pod.Spec.Volumes, v1.Volume{Name: localDir, VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}})
	main := &pod.Spec.Containers[len(pod.Spec.Containers)-1] // behind the sidecars
	if main.Image == "" {
		main.Image = defaultImage
	}
	main.Args = []string{spark.RoleExecutor}
	main.Ports = []v1.ContainerPort{{Name: "blockmanager", ContainerPort: blockManagerPort, Protocol: v1.ProtocolTCP}}
	main.VolumeMounts = append(main.VolumeMounts, v1.VolumeMount{Name: localDir, MountPath: "/var/data/" + localDir})
	main.Env = append(main.Env,
		v1.EnvVar{Name: "SPARK_APPLICATION_ID", Value: spark.AppID(d.pod)},
		v1.EnvVar{Name: "SPARK_EXECUTOR_ID", Value: strconv.Itoa(id)},
		v1.EnvVar{Name: "SPARK_RESOURCE_PROFILE_ID", Value: spark.DefaultResourceProfile},
		fieldEnv("SPARK_EXECUTOR_POD_IP", "status.podIP"),
		fieldEnv("SPARK_EXECUTOR_POD_NAME", "metadata.name"),
	)
	return pod
}

func fieldEnv(name, path string) v1.EnvVar {
	return v1.EnvVar{Name: name, ValueFrom: &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path}}}
}

var (
	notWordAtStart = regexp.MustCompile(`^\W+`)
	notWord        = regexp.MustCompile(`[^\w-]+`)
)

// hostname is what Spark makes of an executor's pod name: its end, which holds the id.
func hostname(name string) string {
	const longest = 63 // characters of a DNS label
	name = name[max(0, len(name)-longest):]
	return notWord.ReplaceAllString(notWordAtStart.ReplaceAllString(name, ""), "_")
}

// executorPrefix is how the names of a driver's executors begin. Spark makes a new one in every driver process; here
// it follows from the driver, so that a Simulator that was restarted goes on with the same.
func executorPrefix(s settings, driver types.UID) string {
	if s.podNamePrefix != "" {
		return s.podNamePrefix
	}
	sum := sha256.Sum256([]byte(driver))
	return resourceName(s.appName) + "-" + hex.EncodeToString(sum[:8])
}

var (
	notNameCharacter = regexp.MustCompile(`[^a-z0-9-]`)
	dashes           = regexp.MustCompile(`-+`)
	digitsAtStart    = regexp.MustCompile(`^[0-9]`)
)

// resourceName is an application's name as part of the names of its objects.
func resourceName(appName string) string {
	name := strings.ToLower(strings.TrimSpace(appName))
	name = notNameCharacter.ReplaceAllString(name, "-")
	name = dashes.ReplaceAllString(name, "-")
	name = strings.TrimPrefix(name, "-")
	return digitsAtStart.ReplaceAllStringFunc(name, func(digit string) string { return "x" + digit })
}
