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

// executor is the pod of one executor as Spark's driver creates it, but for the options of its JVM.
func (d *driver) executor(id int) *v1.Pod {
	name := fmt.Sprintf("%s-exec-%d", d.prefix, id)
	pod := d.role.Pod.DeepCopy()
	pod.ObjectMeta = metav1.ObjectMeta{Namespace: d.pod.Namespace, Name: name, Labels: pod.Labels, OwnerReferences: ownedBy(d.pod)}
	pod.Labels[spark.LabelExecutorID] = strconv.Itoa(id)
	pod.Labels[spark.LabelAppName] = appNameLabel(d.settings.appName) // which code may have changed
	pod.Spec.Hostname = hostname(name)
	if pod.Spec.SchedulerName == v1.DefaultSchedulerName {
		pod.Spec.SchedulerName = "" // the API server says so itself
	}
	pod.Spec.ServiceAccountName = d.settings.serviceAccount
	main := &pod.Spec.Containers[len(pod.Spec.Containers)-1] // behind the sidecars
	if main.Image == "" {
		main.Image = defaultImage
	}
	if d.settings.configMap {
		pod.Spec.Volumes = append(pod.Spec.Volumes, v1.Volume{Name: executorConfVolume, VolumeSource: v1.VolumeSource{
			ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: d.configMapName()}}}})
		main.VolumeMounts = append(main.VolumeMounts, v1.VolumeMount{Name: executorConfVolume, MountPath: confDir})
	}
	localPath := "/var/data/spark-" + string(d.pod.UID)
	pod.Spec.Volumes = append(pod.Spec.Volumes, v1.Volume{Name: localDir, VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}})
	main.VolumeMounts = append(main.VolumeMounts, v1.VolumeMount{Name: localDir, MountPath: localPath})
	main.Args = []string{spark.RoleExecutor}
	main.Ports = []v1.ContainerPort{{Name: "blockmanager", ContainerPort: blockManagerPort, Protocol: v1.ProtocolTCP}}
	main.Env = []v1.EnvVar{
		{Name: "SPARK_USER", Value: user},
		{Name: "SPARK_DRIVER_URL", Value: fmt.Sprintf("spark://CoarseGrainedScheduler@%s:%d", d.settings.driverHost, driverPort)},
		{Name: "SPARK_EXECUTOR_CORES", Value: d.settings.cores},
		{Name: "SPARK_EXECUTOR_MEMORY", Value: d.settings.memory},
		{Name: "SPARK_APPLICATION_ID", Value: spark.AppID(d.pod)},
		{Name: "SPARK_CONF_DIR", Value: confDir},
		{Name: "SPARK_EXECUTOR_ID", Value: strconv.Itoa(id)},
		{Name: "SPARK_RESOURCE_PROFILE_ID", Value: spark.DefaultResourceProfile},
		fieldEnv("SPARK_EXECUTOR_POD_IP", "status.podIP"),
		fieldEnv("SPARK_EXECUTOR_POD_NAME", "metadata.name"),
		{Name: "SPARK_LOCAL_DIRS", Value: localPath},
	}
	return pod
}

// executorConfVolume is where executors find the driver's ConfigMap for them.
const executorConfVolume = "spark-conf-volume-exec"

// user is who submits.
const user = "sparksim"

// configMapName is the name of the executors' ConfigMap.
func (d *driver) configMapName() string { return "spark-exec-" + digest(d.pod.UID) + configMapSuffix }

// configMap is what a driver makes for its executors. It says little: their settings come by other ways.
func (d *driver) configMap() *v1.ConfigMap {
	made := immutableMap(d.pod.Namespace, d.configMapName(), map[string]string{namespaceKey: d.pod.Namespace})
	made.Labels = map[string]string{spark.LabelApp: spark.AppID(d.pod), spark.LabelRole: spark.RoleExecutor}
	made.OwnerReferences = ownedBy(d.pod)
	return made
}

// ownedBy is the reference of what a driver owns.
func ownedBy(driver *v1.Pod) []metav1.OwnerReference {
	controller := true
	return []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: driver.Name, UID: driver.UID, Controller: &controller}}
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
	return resourceName(s.appName) + "-" + digest(driver)
}

// digest is sixteen hex digits, like a unique id of Spark's.
func digest(uid types.UID) string {
	sum := sha256.Sum256([]byte(uid))
	return hex.EncodeToString(sum[:8])
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
