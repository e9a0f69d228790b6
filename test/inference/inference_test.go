package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEveryVersionSeesEverySettingAndBothLanguages(t *testing.T) {
	for _, complete := range []bool{false, true} {
		tried := map[string]bool{}
		for _, c := range casesFor("3.5.9", complete) {
			tried[c.name] = true
			tried[c.name+" "+c.language()] = true
			tried[c.language()] = true
			if c.since == "4.1" {
				t.Errorf("%s does not exist in 3.5", c.name)
			}
		}
		for _, basic := range basics {
			if !tried[basic.name] || complete && !(tried[basic.name+" JVM"] && tried[basic.name+" Python"]) {
				t.Errorf("complete %v: %s is not tried", complete, basic.name)
			}
		}
		if !tried["JVM"] || !tried["Python"] {
			t.Errorf("complete %v: a language is not tried", complete)
		}
	}
}

func TestTheTableGoesBetweenItsLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(path, []byte("before\n"+tableBegin+"old\n"+tableEnd+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rows := []*row{
		{home: home{version: "3.5.9"}, testCase: testCase{name: "a"}, outcome: outcome{predicted: "right"}},
		{home: home{version: "4.1.4"}, testCase: testCase{name: "a", python: true}, outcome: outcome{predicted: "x", differences: []string{"y"}}},
	}
	if err := updateDocument(path, markdown(rows)); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "before\n" + tableBegin + "| Case | Language | 3.5.9 | 4.1.4 |\n|---|---|---|---|\n| a | JVM | right | – |\n| a | Python | – | **wrong** |\n" + tableEnd + "after\n"
	if string(got) != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if err := os.WriteFile(path, []byte("no table"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := updateDocument(path, ""); err == nil || !strings.Contains(err.Error(), "has no lines") {
		t.Errorf("error %v", err)
	}
}
