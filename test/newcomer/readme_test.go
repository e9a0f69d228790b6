package newcomer

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The languages of blocks in the README, and what the tests do with each.
const (
	shellBlock   = "sh"      // commands, one a line, or continued by a backslash
	consoleBlock = "console" // commands after "$ ", each with what it prints
	yamlBlock    = "yaml"    // an object that is applied
	textBlock    = "text"    // for the eye
)

// passage is a command or an object in a Markdown file, at the place where a reader comes across it.
type passage struct {
	file     string // its name
	line     int
	language string   // of its block; "" for a command within a sentence or a table
	text     string   // the command, without its comment, or the object
	prints   []string // lines; … stands for anything, and a number for any number
}

var (
	fence = regexp.MustCompile("^```(.*)$")
	// spans are commands that stand between backquotes in a sentence.
	span      = regexp.MustCompile("`((?:make|kubectl|docker|sparksim|hack/[a-z-]+|bin/[a-z-]+)(?: [^`]*)?)`")
	noCommand = regexp.MustCompile(`^(bin/kubeconfig|bin/)$`)
	remark    = regexp.MustCompile(`\s+# .*$`)
)

// passages are the commands and objects of a Markdown file, in order.
func passages(t *testing.T, file string) []passage {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	var found []passage
	inside, begun := "", false
	var object *passage
	for i, line := range strings.Split(string(content), "\n") {
		if match := fence.FindStringSubmatch(line); match != nil {
			if begun = !begun; begun {
				inside = match[1]
				require.Contains(t, []string{shellBlock, consoleBlock, yamlBlock, textBlock}, inside, "%s:%d: the language of the block", file, i+1)
			}
			object = nil
			continue
		}
		switch {
		case !begun:
			for _, match := range span.FindAllStringSubmatch(line, -1) {
				if !noCommand.MatchString(match[1]) {
					found = append(found, passage{line: i + 1, text: match[1]})
				}
			}
		case inside == shellBlock && strings.TrimSpace(line) != "":
			found = append(found, passage{line: i + 1, language: inside, text: remark.ReplaceAllString(line, "")})
		case inside == consoleBlock && strings.HasPrefix(line, "$ "):
			found = append(found, passage{line: i + 1, language: inside, text: remark.ReplaceAllString(line[2:], "")})
		case inside == consoleBlock:
			require.NotEmpty(t, found, "%s:%d: output before any command", file, i+1)
			found[len(found)-1].prints = append(found[len(found)-1].prints, line)
		case inside == yamlBlock && object == nil:
			found = append(found, passage{line: i + 1, language: inside, text: line + "\n"})
			object = &found[len(found)-1]
		case inside == yamlBlock:
			object.text += line + "\n"
		}
	}
	require.False(t, begun, "%s: its last block does not end", file)
	for i := range found {
		found[i].file = filepath.Base(file)
	}
	return found
}

var (
	number = regexp.MustCompile(`\d+`)
	blanks = regexp.MustCompile(`\s+`)
)

// missing is the first line of what should be printed that is not in the output, in this order; "" if all are.
func missing(prints []string, output string) string {
	lines := strings.Split(output, "\n")
	for _, want := range prints {
		pattern := number.ReplaceAllString(regexp.QuoteMeta(strings.TrimSpace(want)), `\d+`)
		pattern = blanks.ReplaceAllString(strings.ReplaceAll(pattern, "…", ".*"), `\s+`)
		form := regexp.MustCompile("^" + pattern + "$")
		at := slices.IndexFunc(lines, func(line string) bool { return form.MatchString(strings.TrimSpace(line)) })
		if at < 0 {
			return want
		}
		lines = lines[at+1:]
	}
	return ""
}

func TestWhatTheReadmeShowsIsComparedLineByLine(t *testing.T) {
	output := "Name: x\nEvents:\n  Type  Reason   Age\n  Warning  FailedScheduling  7s  retinue  0/20 nodes are available: Fragmented: 0 of 10 fit\n"
	require.Empty(t, missing([]string{"…", "Events:", "Type   Reason   Age", "Warning FailedScheduling 2s retinue 0/4 nodes are available: Fragmented: …"}, output))
	require.Equal(t, "Warning  ClusterFull", missing([]string{"Events:", "Warning  ClusterFull"}, output))
	require.Equal(t, "Name: x", missing([]string{"Events:", "Name: x"}, output), "in this order")
	require.Equal(t, "Reason", missing([]string{"Reason"}, output), "a part of a line is not a line")
}

// elsewhere are the commands of the README that the test of its commands leaves out, with the reason.
var elsewhere = map[string]string{
	"make demo":                   ".ci/run runs it from a fresh clone",
	"make test":                   ".ci/run runs it from a fresh clone",
	"make tenants":                "make test plays a short form of it",
	"make verify":                 ".ci/run runs it",
	"make integration":            "make test runs the same tests",
	"make race":                   "the tests of make test once more, and ten times as slow",
	"make yarn-oracle":            "needs Java and Maven; make test compares with what it has recorded",
	"make sim SEEDS=1000":         "an hour; make sim SEED=17 is the same target",
	"make generate":               "make verify runs the same generator and compares",
	"make history-test":           "needs root and a Debian package; make test runs the same tests where it is",
	"make e2e":                    "needs root, Debian packages and a Spark distribution",
	"make e2e-autoscaler":         "builds two Karpenters, one with another version of Go, and buys nodes for half an hour",
	"make e2e-inference":          "needs Java and several Spark distributions",
	"make perf":                   "minutes, and says nothing on a machine that is busy",
	"make perf-short":             "minutes, and says nothing on a machine that is busy",
	"make perf-full":              "an hour and a half",
	"make perf-cluster":           "half an hour",
	"make perf-profile":           "minutes, and needs a quiet machine",
	"make perf-record":            "two hours, and writes documents",
	"hack/bump-kubernetes 1.37.1": "rewrites go.mod, from the network",
	"make image IMAGE=REGISTRY/retinue/scheduler:TAG": "make image-test builds it; TestTheImageHoldsWhatItsDockerfileCopies takes its steps without a builder",
	"make image-test":   "needs root, Debian packages and minutes",
	"make e2e-install":  "a part of make e2e",
	"make release":      "six programs; make release-test runs it",
	"make release-test": "twelve programs",
	"kubectl retinue convert capacity-scheduler.xml": "the tests of pkg/yarn and cmd/kubectl-retinue run it on whole files",
	"sparksim submit": "the block above runs it",
	"docker push REGISTRY/retinue/scheduler:TAG": "needs a registry",
}

func TestReasonsAreGivenOnlyForCommandsThatTheReadmeHas(t *testing.T) {
	var commands []string
	for _, p := range passages(t, "../../README.md") {
		commands = append(commands, p.text)
	}
	for command, reason := range elsewhere {
		require.Contains(t, commands, command)
		require.NotEmpty(t, reason)
	}
}
