package spark

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheFormatOfPropertiesFiles(t *testing.T) {
	tests := map[string]struct {
		text string
		want map[string]string
	}{
		"what spark-submit writes": {
			"#Java properties built from Kubernetes config map with name: spark-drv-0123-conf-map\n#Sat Nov 21 01:30:00 UTC 2026\nspark.master=k8s\\://https\\://10.0.0.1\\:6443\n",
			map[string]string{"spark.master": "k8s://https://10.0.0.1:6443"},
		},
		"every separator":                   {"a=1\nb:2\nc 3\nd\t4\ne  =  5\nf : 6\ng", map[string]string{"a": "1", "b": "2", "c": "3", "d": "4", "e": "5", "f": "6", "g": ""}},
		"only the first separator counts":   {"a==1\nb=:2\nc = = 3", map[string]string{"a": "=1", "b": ":2", "c": "= 3"}},
		"escaped separators in a key":       {"a\\=b\\:c\\ d=1", map[string]string{"a=b:c d": "1"}},
		"every line end":                    {"a=1\rb=2\r\nc=3\nd=4", map[string]string{"a": "1", "b": "2", "c": "3", "d": "4"}},
		"comments and blank lines":          {"# a=1\n  ! b=2\n\n \t\f\nc=3", map[string]string{"c": "3"}},
		"a value may hold comment signs":    {"a=1 # 2 ! 3", map[string]string{"a": "1 # 2 ! 3"}},
		"a line that goes on":               {"a=1,\\\n    2,\\\r\n\t3", map[string]string{"a": "1,2,3"}},
		"a line that goes on with a number": {"a=1\\\n#2\nb=3", map[string]string{"a": "1#2", "b": "3"}},
		"an even number of backslashes":     {"a=1\\\\\nb=2", map[string]string{"a": `1\`, "b": "2"}},
		"a line that goes on to the end":    {"a=1\\", map[string]string{"a": "1"}},
		"escapes":                           {`a=\t\n\r\f\\\=\:\#\!\q`, map[string]string{"a": "\t\n\r\f\\=:#!q"}},
		"unicode":                           {`a=\u00e9\uD83D\uDE00é😀`, map[string]string{"a": "é😀é😀"}},
		"half of a pair":                    {`a=\uD83Dx`, map[string]string{"a": "\uFFFDx"}},
		"the last of equal keys wins":       {"a=1\na=2", map[string]string{"a": "2"}},
		"nothing is expanded":               {"a=${b}\nb=1", map[string]string{"a": "${b}", "b": "1"}},
		"nothing":                           {"", map[string]string{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseJava(test.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestOnlyKnownSettingsAreKept(t *testing.T) {
	const secret = "hunter2"
	got, err := ParseProperties("spark.executor.memory= 2g\\t\nspark.hadoop.fs.s3a.secret.key=" + secret + "\nspark.kubernetes.executor.label.team=data\n" +
		"spark.kubernetes.executor.label.=x\nspark.executor.memoryX=1g\nspark.executor.resource.gpu.amount=${spark.x}\nspark.x=1\n")
	if err != nil {
		t.Fatal(err)
	}
	want := Properties{
		"spark.executor.memory":                {Text: "2g"},
		"spark.kubernetes.executor.label.team": {Text: "data"},
		"spark.executor.resource.gpu.amount":   {Text: "${spark.x}"}, // Spark does not resolve this one either
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Value{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestPropertiesThatCannotBeRead(t *testing.T) {
	bomb := "spark.executor.memory=${spark.b0}\n"
	for i := range 30 {
		bomb += fmt.Sprintf("spark.b%d=${spark.b%d}${spark.b%d}\n", i, i+1, i+1)
	}
	tests := map[string]struct{ text, want string }{
		"a broken escape names its line only":          {"#\nspark.password=hunter2\\u12\n", `spark.properties: line 2: a \u escape needs four hexadecimal digits`},
		"more than any ConfigMap holds":                {strings.Repeat("#", MaxBytes+1), "spark.properties has 1572865 bytes, more than 1572864"},
		"a setting that refers to itself":              {"spark.executor.memory=${spark.executor.cores}\nspark.executor.cores=${spark.executor.memory}", `spark.executor.cores: "${spark.executor.cores}" refers to itself`},
		"an environment variable":                      {"spark.executor.memory=${env:HEAP}", `spark.executor.memory: "${env:HEAP}" refers to the driver's surroundings, which are not known before it runs`},
		"a Java property":                              {"spark.executor.memory=${system:heap}", `spark.executor.memory: "${system:heap}" refers to the driver's surroundings, which are not known before it runs`},
		"references that grow beyond any use":          {bomb + "spark.b30=" + strings.Repeat("x", 1000), "spark.executor.memory: more than 65536 bytes once its references are resolved"},
		"references that grow beyond any use, emptily": {strings.ReplaceAll(bomb, "spark.executor.memory", "spark.executor.cores") + "spark.b30=", "spark.executor.cores: more than 65536 bytes once its references are resolved"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ParseProperties(test.text)
			if err == nil {
				t.Fatal("no error")
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error tells a secret: %v", err)
			}
			if err.Error() != test.want {
				t.Errorf("got  %s\nwant %s", err, test.want)
			}
		})
	}
}

// Values of annotations are nobody's business: only their names are checked.
func TestValuesOfAnnotationsAreNotKept(t *testing.T) {
	properties, err := ParseProperties("spark.kubernetes.executor.annotation.token=hunter2")
	if diff := cmp.Diff(Properties{"spark.kubernetes.executor.annotation.token": {}}, properties, cmp.AllowUnexported(Value{})); err != nil || diff != "" {
		t.Error(err, diff)
	}
}
