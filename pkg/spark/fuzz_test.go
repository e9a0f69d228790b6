package spark

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/test/property"
)

// checkError makes sure that an error is what a user gets to see: one short line.
func checkError(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if text := err.Error(); len(text) > 1000 || strings.ContainsAny(text, "\n\r") {
		t.Errorf("an error of %d bytes, or of several lines: %.1000q", len(text), text)
	}
}

// The fuzz tests begin with the texts below, costlyTexts, and what they have found to go ways of its own in testdata/fuzz; every test
// replays them all.

func FuzzInfer(f *testing.F) {
	f.Add("spark.executor.instances=3\nspark.executor.memory=2g", "spec: {containers: [{name: a}]}", "3.5.9")
	f.Add("spark.dynamicAllocation.enabled=true\nspark.dynamicAllocation.minExecutors=2", "", "4.0.0")
	f.Add("spark.executor.memory=${spark.driver.memory}\nspark.executor.resource.gpu.amount=1\nspark.executor.resource.gpu.vendor=v.io", "spec: {hostNetwork: true}", "?")
	f.Add("spark.kubernetes.executor.request.cores=1e-1000000000", "spec: {containers: [{resources: {limits: {cpu: 1e-1000000000}}}]}", "4.2.0")
	f.Add("spark.kubernetes.memoryOverheadFactor=1e300\nspark.executor.memory=64t", "spec: {overhead: {cpu: 9E}}", "4.2.0")
	for _, text := range costlyTexts() {
		f.Add("", text, "4.1.4")
	}
	f.Fuzz(func(t *testing.T, text, template, version string) {
		property.Within(t, func() {
			properties, err := ParseProperties(text)
			checkError(t, err)
			pod, err := ParseTemplate(template)
			checkError(t, err)
			definition, err := Infer(driverPod(version), properties, pod, v1.DefaultSchedulerName, "retinue")
			checkError(t, err)
			again, _ := Infer(driverPod(version), properties, pod, v1.DefaultSchedulerName, "retinue")
			if !reflect.DeepEqual(definition, again) {
				t.Errorf("two answers to one question: %+v and %+v", definition, again)
			}
			checkDefinition(t, definition)
			_, err = Driver(properties, Latest)
			checkError(t, err)
		})
	})
}

func FuzzFromAnnotations(f *testing.F) {
	f.Add("[{name: a, count: 1, requests: {cpu: 1}, selector: {a: b}}]", "", "g")
	f.Add(`[{"name": "a", "count": 2, "minimum": 1, "maximum": 3, "requests": {"cpu": "1e-1000000000"}}]`, "", "")
	f.Add("", "7", "g")
	f.Add("", "-2147483649", strings.Repeat("é", maxUser)+"\xff")
	for _, text := range costlyTexts() {
		f.Add(text, "", "g")
	}
	f.Fuzz(func(t *testing.T, roles, workers, gangName string) {
		property.Within(t, func() {
			pod := leader(map[string]string{})
			pod.Labels[LabelGang] = gangName
			if roles != "" {
				pod.Annotations[AnnotationRoles] = roles
			}
			if workers != "" {
				pod.Annotations[AnnotationWorkers] = workers
			}
			definition, found, err := FromAnnotations(pod)
			checkError(t, err)
			if err == nil && found != (len(definition.Roles) > 0) {
				t.Errorf("found %v with %d roles", found, len(definition.Roles))
			}
			checkDefinition(t, definition)
			pod.Annotations[AnnotationRank], pod.Labels[LabelUser] = workers, gangName
			_, err = Rank(pod)
			checkError(t, err)
			if user := User(pod); len(user) > maxUser || !utf8.ValidString(user) {
				t.Errorf("a user of %d bytes: %.100q", len(user), user)
			}
		})
	})
}

func FuzzProperties(f *testing.F) {
	f.Add("a=b\\\n c\nd:\\u0041")
	f.Fuzz(func(t *testing.T, text string) {
		property.Within(t, func() {
			values, err := parseJava(text)
			checkError(t, err)
			size := 0
			for key, value := range values {
				size += len(key) + len(value)
			}
			// Only half of a surrogate pair grows: six bytes become three at most, so nothing ever does.
			if size > len(text) {
				t.Errorf("%d bytes became %d", len(text), size)
			}
		})
	})
}
