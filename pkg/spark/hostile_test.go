package spark

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/test/property"
)

// mostKept is what a definition may hold, in bytes: see kept.
const mostKept = 1 << 20

// filled repeats a text until nothing more of it fits into most bytes, between a head and a tail.
func filled(most int, head, repeated, tail string) string {
	return head + strings.Repeat(repeated, (most-len(head)-len(tail))/len(repeated)) + tail
}

// texts that take as much memory as text of their length can.
func costlyTexts() map[string]string {
	bomb := "b: [" + strings.Repeat("*s,", 3000) + "*s]"
	deep := ""
	for i, letter := range "bcdefghijklm" {
		deep += fmt.Sprintf("%c: &%c [%s*%c]\n", letter, letter, strings.Repeat("*"+string('a'+rune(i))+",", 9), 'a'+rune(i))
	}
	return map[string]string{
		"a long string and 3,000 aliases":   "a: &s " + filled(48<<10, "", "x", "") + "\n" + bomb,
		"a long list and 3,000 aliases":     "a: &s " + filled(48<<10, "[", "x,", "]") + "\n" + bomb,
		"aliases of aliases of aliases":     "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + deep,
		"merge keys":                        "a: &s {" + filled(20<<10, "", "x: 1,", "y: 2}") + "\n" + filled(30<<10, "c:\n", "- <<: *s\n", ""),
		"the name of an alias in itself":    "a: &a [*a]",
		"as many values as fit":             filled(MaxTextBytes, "[", "a,", "a]"),
		"as many keys without values":       filled(MaxTextBytes, "{", "a,", "a}"),
		"as many lists":                     filled(MaxTextBytes, "", "-\n", ""),
		"as many maps":                      filled(MaxTextBytes, "", "- a: 1\n", ""),
		"as many empty maps":                filled(MaxTextBytes, "[", "{},", "{}]"),
		"as many documents":                 filled(MaxTextBytes, "", "---\n", ""),
		"as many anchors":                   filled(MaxTextBytes, "[", "&a b,", "c]"),
		"as many comments":                  filled(MaxTextBytes, "a: '&'\n", "#\n", "b: c"),
		"as deep as it goes":                filled(MaxTextBytes, "", "[", ""),
		"JSON of empty lists":               filled(MaxTextBytes, `{"spec": [`, "[],", "[]]}"),
		"a pod of empty containers":         filled(MaxTextBytes, `{"spec": {"containers": [`, "{},", "{}]}}"),
		"a pod of empty tolerations":        filled(MaxTextBytes, `{"spec": {"tolerations": [`, "{},", "{}]}}"),
		"more containers than any pod has":  `{"spec": {"containers": [` + strings.Repeat("{},", 256) + "{}]}}",
		"a pod of volumes":                  filled(MaxTextBytes, `{"spec": {"volumes": [`, `{"csi":{}},`, `{}]}}`),
		"a pod of topology constraints":     filled(MaxTextBytes, `{"spec": {"topologySpreadConstraints": [`, `{},`, `{}]}}`),
		"a quantity of very many digits":    `{"spec": {"containers": [{"resources": {"requests": {"cpu": "` + filled(MaxTextBytes-100, "", "1", "") + `"}}}]}}`,
		"a quantity with a large exponent":  `spec: {containers: [{resources: {requests: {cpu: "1e-2147483647"}}}]}`,
		"a size with a large exponent":      `spec: {volumes: [{emptyDir: {sizeLimit: "1e-2147483647"}}]}`,
		"pod-level with a large exponent":   `spec: {resources: {limits: {cpu: "1e2147483647"}}}`,
		"more text than is read":            filled(4*MaxTextBytes, "a: [", "a,", "a]"),
		"a list of roles of nothing":        filled(MaxTextBytes, "[", "{},", "{}]"),
		"one role with very many resources": filled(MaxTextBytes, "[{name: a, count: 1, selector: {a: b}, requests: {", "a: 1,", "b: 1}}]"),
	}
}

// kept bounds what the Go values of a definition hold: its roles as Kubernetes encodes them, and for every empty message
// of two bytes the largest of the structs it may be.
func kept(definition gang.Definition) int {
	size := 0
	for _, role := range definition.Roles {
		size += role.Pod.Size()
	}
	return size * 32
}

// TestNoTextMakesADecoderUseMuchMemory.
//
// Seen failing before aliases were measured: 3,000 aliases of a string of 100 KiB allocated 6 GB.
func TestNoTextMakesADecoderUseMuchMemory(t *testing.T) {
	decoders := map[string]func(text string) error{
		"executor template": func(text string) error {
			template, err := ParseTemplate(text)
			if err != nil {
				return err
			}
			definition, err := Infer(driverPod("4.2.0"), Properties{}, template)
			assert.LessOrEqual(t, kept(definition), mostKept)
			return err
		},
		"pod": func(text string) error {
			_, err := ParsePod(text)
			return err
		},
		AnnotationRoles: func(text string) error {
			pod := leader(map[string]string{AnnotationRoles: text})
			definition, _, err := FromAnnotations(pod)
			assert.LessOrEqual(t, kept(definition), mostKept)
			return err
		},
		AnnotationWorkers: func(text string) error {
			pod := leader(map[string]string{AnnotationWorkers: text})
			_, _, err := FromAnnotations(pod)
			return err
		},
		AnnotationRank: func(text string) error {
			_, err := Rank(leader(map[string]string{AnnotationRank: text}))
			return err
		},
		LabelUser: func(text string) error {
			assert.LessOrEqual(t, len(User(leader(map[string]string{LabelUser: text}))), maxUser)
			return nil
		},
		"properties": func(text string) error {
			properties, err := ParseProperties(text)
			if err != nil {
				return err
			}
			_, err = Infer(driverPod("4.2.0"), properties, nil)
			return err
		},
	}
	for decoder, decode := range decoders {
		for name, text := range costlyTexts() {
			t.Run(decoder+"/"+name, func(t *testing.T) {
				var err error
				property.Within(t, func() { err = decode(text) })
				checkError(t, err)
			})
		}
	}
}

// TestNoPropertiesUseMuchMemory.
//
// Seen failing before the number of settings was bounded: 370,000 labels allocated 250 MB.
func TestNoPropertiesUseMuchMemory(t *testing.T) {
	var settings, labels, families strings.Builder
	for i := 0; settings.Len() < MaxBytes-10; i++ {
		fmt.Fprintf(&settings, "%x\n", i)
	}
	for i := 0; labels.Len() < MaxBytes-60; i++ {
		fmt.Fprintf(&labels, "%s%x=\n", executorLabel, i)
	}
	for i := 0; i < maxSettings/2; i++ {
		fmt.Fprintf(&families, "%s%x.amount=1\n%s%x.vendor=a.b\n", executorResource, i, executorResource, i)
	}
	doubling := "spark.executor.memory=${spark.a0}\n"
	for i := range 60 {
		doubling += fmt.Sprintf("spark.a%d=${spark.a%d}${spark.a%d}\n", i, i+1, i+1)
	}
	for name, text := range map[string]string{
		"as many settings as fit":        settings.String(),
		"as many labels as fit":          labels.String(),
		"as many resources as fit":       families.String(),
		"references that double":         doubling,
		"one value of all there is":      filled(MaxBytes, executorImage+"=", "x", ""),
		"references to nothing":          filled(MaxBytes, executorImage+"=", "${a}", ""),
		"escapes":                        filled(MaxBytes, executorImage+"=", `\u0041`, ""),
		"one line continued for ever":    filled(MaxBytes, executorImage+"=", "\\\n", ""),
		"a quantity of very many digits": filled(MaxBytes, requestCores+"=", "1", ""),
		"more than is read":              filled(2*MaxBytes, "", "a=b\n", ""),
	} {
		t.Run(name, func(t *testing.T) {
			property.Within(t, func() {
				properties, err := ParseProperties(text)
				checkError(t, err)
				definition, err := Infer(driverPod("4.2.0"), properties, nil)
				checkError(t, err)
				assert.LessOrEqual(t, kept(definition), mostKept)
			})
		})
	}
}

// Aliases that stand for little are read: people share a block between two containers.
func TestAliasesThatStandForLittleAreRead(t *testing.T) {
	template, err := ParseTemplate(`
spec:
  containers:
  - {name: main, resources: {requests: &size {ephemeral-storage: 1Gi}, limits: *size}}
  nodeSelector: {note: "a & b * c"}
`)
	require.NoError(t, err)
	assert.Equal(t, "requests ephemeral-storage=1Gi limits ephemeral-storage=1Gi", resources(template.Spec.Containers[0]))
}

// TestNumbersThatMultiplyAreBounded: what a definition makes others do is roles × resources × nodes, and a slot for every worker.
func TestNumbersThatMultiplyAreBounded(t *testing.T) {
	many := func(n int) string {
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprintf("a.b/r%d: 1", i)
		}
		return strings.Join(names, ", ")
	}
	role := func(name string, count int, more string) string {
		return fmt.Sprintf("{name: %s, count: %d, requests: {cpu: 1}, selector: {role: %s}%s}", name, count, name, more)
	}
	tests := map[string]struct {
		annotation, text, want string
	}{
		"33 resources of a role":      {AnnotationRoles, "[{name: a, count: 1, selector: {a: b}, requests: {" + many(33) + "}}]", "33 different resources, more than 32"},
		"32 resources of a role":      {AnnotationRoles, "[{name: a, count: 1, selector: {a: b}, requests: {" + many(32) + "}}]", ""},
		"more workers than any":       {AnnotationRoles, "[" + role("a", MaxWorkers+1, "") + "]", "[0].count=100001: want 0 to 100000"},
		"more workers in two roles":   {AnnotationRoles, "[" + role("a", MaxWorkers-1, "") + "," + role("b", 2, "") + "]", "[1].count=2: with the roles before it that makes 100001 workers, more than 100000"},
		"as many workers as there be": {AnnotationRoles, "[" + role("a", MaxWorkers-1, "") + "," + role("b", 1, "") + "]", ""},
		"more pods that start":        {AnnotationWorkers, "100001", "1 to 100000"},
		"rules of 20 KB": {AnnotationRoles, "[" + role("a", 1, ", tolerations: ["+strings.TrimSuffix(strings.Repeat("{key: "+strings.Repeat("x", 63)+"},", 250), ",")+"]") + "]",
			"what the workers say about nodes, other pods and volumes takes"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			pod := leader(map[string]string{test.annotation: test.text})
			pod.Labels[LabelGang] = "g"
			_, _, err := FromAnnotations(pod)
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
		})
	}
	template := "spec: {containers: [{resources: {requests: {" + many(20) + "}}}, {resources: {limits: {" + strings.ReplaceAll(many(20), "a.b", "c.d") + "}}}]}"
	pod, err := ParseTemplate(template)
	require.NoError(t, err)
	_, err = Infer(driverPod("4.2.0"), Properties{}, pod)
	require.ErrorContains(t, err, "42 different resources, more than 32")
	_, err = Infer(driverPod("4.2.0"), parsed(t, "spark.executor.instances=2147483647"), nil)
	require.ErrorContains(t, err, "2147483647 executors at the start, more than 100000")
	_, err = Infer(driverPod("4.2.0"), parsed(t, "spark.executor.instances=2147483647\nspark.kubernetes.allocation.maximum=100"), nil)
	require.NoError(t, err)
}
