package sparksim

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/uuid"

	"retinue.dev/retinue/pkg/spark"
)

// Application is what a user hands to spark-submit.
type Application struct {
	// Name of the application. Required.
	Name string
	// Namespace of its objects; "" means default.
	Namespace string
	// Version of the spark-submit that is played; zero means the latest known.
	Version spark.Version
	// Language is java, python or r; "" means java.
	Language string
	// Properties are the user's Spark settings (--conf).
	Properties map[string]string
	// Template is the executors' pod template in YAML (spark.kubernetes.executor.podTemplateFile); "" means none.
	Template string
}

// Objects are what spark-submit creates, in this order. Everything but the driver is owned by the driver.
type Objects struct {
	Driver     *v1.Pod
	Service    *v1.Service
	Template   *v1.ConfigMap // nil without an executor pod template
	Properties *v1.ConfigMap
}

// Ports of a driver and of executors, when no setting says otherwise.
const (
	driverPort       = 7078
	blockManagerPort = 7079
	uiPort           = 4040
	connectPort      = 15002 // since 4.0
)

const (
	defaultImage       = "apache/spark"
	applicationJar     = "local:///opt/spark/app.jar"
	localDir           = "spark-local-dir-1" // the volume of temporary files, in driver and executors
	confDir            = "/opt/spark/conf"
	propertiesFile     = "spark.properties"
	templateKey        = "podspec-configmap-key"
	templateVolume     = "pod-template-volume"
	templateFile       = "pod-spec-template.yml"
	templateDir        = "/opt/spark/pod-template"
	propertiesVolume   = "spark-conf-volume-driver"
	namespaceKey       = "spark.kubernetes.namespace"
	driverAnnotation   = "spark.kubernetes.driver.annotation."
	driverLabel        = "spark.kubernetes.driver.label."
	overheadFactorKey  = "spark.kubernetes.memoryOverheadFactor"
	imageKey           = "spark.kubernetes.container.image"
	driverPodNameKey   = "spark.kubernetes.driver.pod.name"
	driverHostKey      = "spark.driver.host"
	serviceAccountKey  = "spark.kubernetes.authenticate.driver.serviceAccountName"
	appIDKey           = "spark.app.id"
	maxNameLength      = 253 // characters of an object's name
	configMapSuffix    = "-conf-map"
	serviceSuffix      = "-driver-svc"
	maxServiceLength   = 63 // characters of a service's name
	maxLabelLength     = 63 // characters of a label's value
	javaOverheadFactor = "0.1"
	otherOverhead      = "0.4"
)

// Objects makes everything that spark-submit would create now. Every call makes another application.
func (a Application) Objects(now time.Time) (Objects, error) {
	if a.Name == "" {
		return Objects{}, errors.New("application: Name is empty")
	}
	if a.Namespace == "" {
		a.Namespace = metav1.NamespaceDefault
	}
	if a.Version == (spark.Version{}) {
		a.Version = spark.Latest
	}
	names := a.names(now)
	resolved, err := a.resolve(names, now)
	if err != nil {
		return Objects{}, err
	}
	text := writeProperties("Java properties built from Kubernetes config map with name: "+names.configMap, now, resolved)
	driver, err := a.driver(names, text, resolved)
	if err != nil {
		return Objects{}, err
	}
	objects := Objects{
		Driver:  driver,
		Service: a.service(names, driver),
		Properties: immutableMap(a.Namespace, names.configMap, map[string]string{
			propertiesFile: text,
			namespaceKey:   a.Namespace,
		}),
	}
	if a.Template != "" {
		objects.Template = immutableMap(a.Namespace, names.template, map[string]string{templateKey: a.Template})
	}
	return objects, nil
}

func immutableMap(namespace, name string, data map[string]string) *v1.ConfigMap {
	immutable := true
	return &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Immutable: &immutable, Data: data}
}

// names are those of one submission.
type names struct {
	appID, driver, service, configMap, template string
}

func (a Application) names(now time.Time) names {
	prefix := resourceName(a.Name) + "-" + uniqueID(now)
	n := names{
		appID:     a.Properties[appIDKey],
		driver:    a.Properties[driverPodNameKey],
		service:   prefix + serviceSuffix,
		configMap: "spark-drv-" + uniqueID(now) + configMapSuffix,
		template:  prefix + "-driver-podspec" + configMapSuffix,
	}
	if n.appID == "" {
		n.appID = "spark-" + randomHex(16)
	}
	if n.driver == "" {
		n.driver = prefix + "-driver"
	}
	if len(n.service) > maxServiceLength {
		n.service = "spark-" + uniqueID(now) + serviceSuffix
	}
	if over := len(n.template) - maxNameLength; over > 0 {
		n.template = prefix[over:] + "-driver-podspec" + configMapSuffix
	}
	return n
}

// uniqueID is three random bytes and the low 40 bits of the time in milliseconds, in hex: sixteen digits these years.
func uniqueID(now time.Time) string {
	const lowBits = 1<<40 - 1
	return randomHex(3) + strconv.FormatInt(now.UnixMilli()&lowBits, 16)
}

func randomHex(bytes int) string {
	random := make([]byte, bytes)
	_, _ = rand.Read(random) // never fails
	return hex.EncodeToString(random)
}

// resolve adds to the user's settings what spark-submit adds.
func (a Application) resolve(n names, now time.Time) (map[string]string, error) {
	factor := otherOverhead
	switch a.Language {
	case "", "java":
		a.Language, factor = "java", javaOverheadFactor
	case "python", "r":
	default:
		return nil, fmt.Errorf("application %s: Language %q: want java, python or r", a.Name, a.Language)
	}
	resolved := map[string]string{
		appNameKey:        a.Name,
		imageKey:          defaultImage,
		overheadFactorKey: factor,

		"spark.submit.pyFiles": "",
	}
	if a.Language == "java" {
		resolved["spark.jars"] = applicationJar
	}
	maps.Copy(resolved, a.Properties)
	maps.Copy(resolved, map[string]string{
		appIDKey:                          n.appID,
		"spark.app.submitTime":            strconv.FormatInt(now.UnixMilli(), 10),
		"spark.driver.blockManager.port":  strconv.Itoa(blockManagerPort),
		driverHostKey:                     n.service + "." + a.Namespace + ".svc",
		"spark.driver.port":               strconv.Itoa(driverPort),
		driverPodNameKey:                  n.driver,
		namespaceKey:                      a.Namespace,
		"spark.kubernetes.resource.type":  a.Language,
		"spark.kubernetes.submitInDriver": "true",
		"spark.master":                    "k8s://https://kubernetes.default.svc",
		"spark.submit.deployMode":         "cluster",
	})
	if a.Template != "" {
		resolved["spark.kubernetes.executor.podTemplateFile"] = templateDir + "/" + templateFile
	}
	return resolved, nil
}

// driver is the driver pod. Its size is spark.Driver's.
func (a Application) driver(n names, text string, resolved map[string]string) (*v1.Pod, error) {
	known, err := spark.ParseProperties(text)
	if err != nil {
		return nil, fmt.Errorf("application %s: %w", a.Name, err)
	}
	pod, err := spark.Driver(known, a.Version)
	if err != nil {
		return nil, fmt.Errorf("application %s: %w", a.Name, err)
	}
	pod.ObjectMeta = metav1.ObjectMeta{Namespace: a.Namespace, Name: n.driver, Labels: family(resolved, driverLabel), Annotations: family(resolved, driverAnnotation)}
	maps.Copy(pod.Labels, map[string]string{
		spark.LabelAppName: appNameLabel(a.Name),
		spark.LabelApp:     n.appID,
		spark.LabelRole:    spark.RoleDriver,
		spark.LabelVersion: a.Version.String() + ".0",
	})
	localPath := "/var/data/spark-" + string(uuid.NewUUID())
	mode := int32(0o644)
	if a.Template != "" {
		pod.Spec.Volumes = append(pod.Spec.Volumes, v1.Volume{Name: templateVolume, VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{
			LocalObjectReference: v1.LocalObjectReference{Name: n.template},
			Items:                []v1.KeyToPath{{Key: templateKey, Path: templateFile}},
		}}})
	}
	pod.Spec.Volumes = append(pod.Spec.Volumes,
		v1.Volume{Name: localDir, VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}},
		v1.Volume{Name: propertiesVolume, VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{
			LocalObjectReference: v1.LocalObjectReference{Name: n.configMap},
			Items:                []v1.KeyToPath{{Key: propertiesFile, Path: propertiesFile, Mode: &mode}},
		}}})
	c := &pod.Spec.Containers[0]
	c.VolumeMounts = []v1.VolumeMount{{Name: localDir, MountPath: localPath}, {Name: propertiesVolume, MountPath: confDir}}
	if a.Template != "" {
		c.VolumeMounts = append(c.VolumeMounts, v1.VolumeMount{Name: templateVolume, MountPath: templateDir})
	}
	c.Args = []string{spark.RoleDriver, "--properties-file", confDir + "/" + propertiesFile, "--class", "Main", applicationJar}
	c.Ports = []v1.ContainerPort{
		{Name: "driver-rpc-port", ContainerPort: driverPort, Protocol: v1.ProtocolTCP},
		{Name: "blockmanager", ContainerPort: blockManagerPort, Protocol: v1.ProtocolTCP},
		{Name: "spark-ui", ContainerPort: uiPort, Protocol: v1.ProtocolTCP},
	}
	if a.Version.AtLeast(v40) {
		c.Ports = append(c.Ports, v1.ContainerPort{Name: "spark-connect", ContainerPort: connectPort, Protocol: v1.ProtocolTCP})
	}
	c.Env = []v1.EnvVar{
		{Name: "SPARK_USER", Value: user},
		{Name: "SPARK_APPLICATION_ID", Value: n.appID},
		fieldEnv("SPARK_DRIVER_BIND_ADDRESS", "status.podIP"),
		{Name: "SPARK_LOCAL_DIRS", Value: localPath},
		{Name: "SPARK_CONF_DIR", Value: confDir},
	}
	pod.Spec.ServiceAccountName = resolved[serviceAccountKey]
	if pod.Spec.SchedulerName == v1.DefaultSchedulerName {
		pod.Spec.SchedulerName = "" // the API server says so itself
	}
	return pod, nil
}

// family is the settings under a prefix, without the prefix. It is never nil.
func family(values map[string]string, prefix string) map[string]string {
	members := map[string]string{}
	for key, value := range values {
		if name, found := strings.CutPrefix(key, prefix); found && name != "" {
			members[name] = value
		}
	}
	return members
}

// appNameLabel is an application's name as a label's value.
func appNameLabel(name string) string {
	name = notNameCharacter.ReplaceAllString(strings.ToLower(strings.TrimSpace(name)), "-")
	name = dashes.ReplaceAllString(name, "-")
	return strings.Trim(name[:min(maxLabelLength, len(name))], "-")
}

func (a Application) service(n names, driver *v1.Pod) *v1.Service {
	port := func(name string, number int32) v1.ServicePort {
		return v1.ServicePort{Name: name, Port: number, TargetPort: intstr.FromInt32(number), Protocol: v1.ProtocolTCP}
	}
	ports := []v1.ServicePort{port("driver-rpc-port", driverPort), port("blockmanager", blockManagerPort), port("spark-ui", uiPort)}
	if a.Version.AtLeast(v40) {
		ports = append(ports, port("spark-connect", connectPort))
	}
	return &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: n.service, Labels: map[string]string{spark.LabelApp: n.appID}},
		Spec: v1.ServiceSpec{
			ClusterIP: v1.ClusterIPNone,
			Selector:  maps.Clone(driver.Labels),
			Ports:     ports,
		},
	}
}
