package spark

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// namespace is what spark-submit itself goes by.
const (
	namespace = "spark.kubernetes.namespace"
	appName   = "spark.app.name"
)

// Outdated is a setting of an early Spark on Kubernetes that no release reads: it has no effect, and nobody says so.
type Outdated struct {
	// Name as it is written, Today what has its place; in words where it is no setting.
	Name, Today string
}

// String is a sentence for people.
func (o Outdated) String() string {
	return fmt.Sprintf("%s is read by no release of Spark, and has no effect: %s", o.Name, o.Today)
}

// outdated is the table: name -> what has its place.
var outdated = map[string]string{
	"--kubernetes-namespace":                      "use spark.kubernetes.namespace",
	"spark.kubernetes.driver.docker.image":        "use spark.kubernetes.driver.container.image",
	"spark.kubernetes.executor.docker.image":      "use spark.kubernetes.executor.container.image",
	"spark.kubernetes.initcontainer.docker.image": "there are no init containers since Spark 2.4; the driver fetches what the application needs",
	"spark.kubernetes.executor.memoryOverhead":    "use spark.executor.memoryOverhead",
	"spark.kubernetes.driver.memoryOverhead":      "use spark.driver.memoryOverhead",
	"spark.kubernetes.resourceStagingServer.uri":  "there is no such server any more; use spark.kubernetes.file.upload.path",
	"spark.kubernetes.docker.image.pullPolicy":    "use spark.kubernetes.container.image.pullPolicy",
	"spark.kubernetes.shuffle.namespace":          "use spark.dynamicAllocation.shuffleTracking.enabled or spark.decommission.enabled",
	"spark.kubernetes.driver.labels":              "use spark.kubernetes.driver.label.NAME",
	"spark.kubernetes.executor.labels":            "use spark.kubernetes.executor.label.NAME",
	"spark.kubernetes.driver.annotations":         "use spark.kubernetes.driver.annotation.NAME",
	"spark.kubernetes.executor.annotations":       "use spark.kubernetes.executor.annotation.NAME",
}

// OutdatedOption finds an option of spark-submit that only early Spark on Kubernetes had.
func OutdatedOption(name string) (Outdated, bool) {
	today, found := outdated[name]
	return Outdated{name, today}, found
}

// Submission is what settings say to spark-submit, which nobody goes by after it.
type Submission struct {
	// Namespace of all objects; empty where it is not said, which is default.
	Namespace string
	// Name of the application; empty where it is not said.
	Name string
	// Outdated are the settings that no release reads, by name.
	Outdated []Outdated
}

// ParseSubmission reads the text of a properties file for what concerns the submission alone.
func ParseSubmission(text string) (Submission, error) {
	if len(text) > MaxBytes {
		return Submission{}, fmt.Errorf("%d bytes, more than %d", len(text), MaxBytes)
	}
	all, err := parseJava(text)
	if err != nil {
		return Submission{}, err
	}
	submission := Submission{Namespace: strings.Clone(trimValue(all[namespace])), Name: strings.Clone(trimValue(all[appName]))}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if today, found := outdated[key]; found {
			submission.Outdated = append(submission.Outdated, Outdated{strings.Clone(key), today})
		}
	}
	return submission, nil
}

// PropertiesText writes settings in the format of properties files, by name.
func PropertiesText(settings map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		b.WriteString(escaped(key))
		b.WriteByte('=')
		b.WriteString(escaped(settings[key]))
		b.WriteByte('\n')
	}
	return b.String()
}

// escaped is a text as the key or the value of a properties file.
func escaped(text string) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\f':
			b.WriteString(`\f`)
		case strings.ContainsRune(`\=:`, r), i == 0 && strings.ContainsRune(" #!", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == ' ':
			b.WriteString(`\ `)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
