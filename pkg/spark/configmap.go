package spark

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
)

// How a driver pod refers to its ConfigMaps. The maps' names are Spark's business and differ between versions and
// operators; the volumes' names do not.
const (
	propertiesVolume = "spark-conf-volume-driver"
	propertiesKey    = "spark.properties"
	templateVolume   = "pod-template-volume"
	templateKey      = "podspec-configmap-key"
)

// Refs are the names of the ConfigMaps that describe a driver's executors, in the driver's namespace.
type Refs struct {
	Properties string // "" means that there is nothing to infer from: client mode, or not built by spark-submit
	Template   string // "" means that the executors have no pod template
}

// ConfigMaps finds the ConfigMaps that a driver mounts. They are created after the driver: not finding them in the
// cluster is normal for a moment.
func ConfigMaps(driver *v1.Pod) Refs {
	var refs Refs
	for _, volume := range driver.Spec.Volumes {
		if volume.ConfigMap == nil {
			continue
		}
		switch volume.Name {
		case propertiesVolume:
			refs.Properties = volume.ConfigMap.Name
		case templateVolume:
			refs.Template = volume.ConfigMap.Name
		}
	}
	return refs
}

// PropertiesOf reads the properties ConfigMap of a driver.
func PropertiesOf(configMap *v1.ConfigMap, driver *v1.Pod) (Properties, error) {
	text, err := dataOf(configMap, driver, propertiesKey)
	if err != nil {
		return nil, err
	}
	return ParseProperties(text)
}

// TemplateOf reads the executor template ConfigMap of a driver.
func TemplateOf(configMap *v1.ConfigMap, driver *v1.Pod) (*v1.Pod, error) {
	text, err := dataOf(configMap, driver, templateKey)
	if err != nil {
		return nil, err
	}
	return ParseTemplate(text)
}

// dataOf returns the text under a key of a ConfigMap that belongs to the driver. A long-lived submitter may use the
// name of a map again for its next application, so the owner's UID has to be the driver's.
func dataOf(configMap *v1.ConfigMap, driver *v1.Pod, key string) (string, error) {
	if !ownedBy(configMap, driver) {
		return "", fmt.Errorf("%w: ConfigMap %s, driver %s with uid %s", ErrOwner, configMap.Name, driver.Name, driver.UID)
	}
	text, found := configMap.Data[key]
	if !found {
		return "", fmt.Errorf("ConfigMap %s has no key %s", configMap.Name, key)
	}
	return text, nil
}

func ownedBy(configMap *v1.ConfigMap, driver *v1.Pod) bool {
	for _, owner := range configMap.OwnerReferences {
		if owner.UID == driver.UID {
			return true
		}
	}
	return false
}
