package integration_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/wait"

	"retinue.dev/retinue/test/monitoring/prometheus"
)

var update = flag.Bool("update", false, "write docs/day-with-retinue.md anew where it says something else")

// dayPage is the transcript of a day: prose, files, and commands with what they print.
const dayPage = "../../docs/day-with-retinue.md"

var (
	// block is a block of the page, with the remark before it if there is one.
	block = regexp.MustCompile("(?s)(?:<!-- ([a-z]+) (.*?) -->\n)?```([a-z]+)\n(.*?)```\n")
	// What differs from one day to the next: times, how long something has taken, and which of equal nodes is chosen.
	daysAndTimes = regexp.MustCompile(`\d{4}-\d\d-\d\d|\d\d:\d\d:\d\d`)
	durations    = regexp.MustCompile(`\b(\d+[dhms])+\b|<unknown>|<invalid>`)
	timestamps   = regexp.MustCompile(`@\[[\d.]+\]`)
	nodeNames    = regexp.MustCompile(`\bnode-\d+\b`)
	lasting      = regexp.MustCompile(`for: \d+m\b`) // of an alert
	blanks       = regexp.MustCompile(`[ \t]+`)
)

// shape is a text without what differs from one day to the next, such as ages, and the widths of columns that follow from them.
func shape(text string) string {
	text = daysAndTimes.ReplaceAllStringFunc(text, func(s string) string { return map[bool]string{true: "TIME", false: "DATE"}[strings.Contains(s, ":")] })
	text = timestamps.ReplaceAllString(text, "@[TIME]")
	text = nodeNames.ReplaceAllString(durations.ReplaceAllString(text, "AGE"), "NODE")
	lines := strings.Split(blanks.ReplaceAllString(text, " "), "\n")
	begin := 0
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
		if !strings.HasPrefix(line, " NODE ") || strings.HasPrefix(line, " NODE SLOTS") { // a table by node
			slices.Sort(lines[begin:i])
			begin = i + 1
		}
	}
	return strings.Join(lines, "\n")
}

// day runs what the page says, in a directory of its own.
type day struct {
	*stage
	dir string
	env []string
}

func (d *day) run(command string) (out string, code int) {
	d.t.Helper()
	cmd := exec.CommandContext(d.t.Context(), "bash", "-uc", command)
	cmd.Dir, cmd.Env = d.dir, d.env
	printed, err := cmd.CombinedOutput()
	if exit := (&exec.ExitError{}); err != nil && !errors.As(err, &exit) {
		require.NoError(d.t, err)
	}
	return string(printed), cmd.ProcessState.ExitCode()
}

// await runs a command until it prints what is waited for.
func (d *day) await(command, until string) string {
	d.t.Helper()
	wanted := regexp.MustCompile(until)
	var out string
	err := wait.PollUntilContextTimeout(d.t.Context(), 10*look, patience, true, func(context.Context) (bool, error) {
		out, _ = d.run(command)
		return wanted.MatchString(out), nil
	})
	require.NoError(d.t, err, "%s never prints %q:\n%s", command, until, out)
	return out
}

// transcript runs the commands of a block; of the first it waits until it prints what is wanted, if anything.
func (d *day) transcript(text, until string) string {
	d.t.Helper()
	var b strings.Builder
	for line := range strings.Lines(text) {
		command, isCommand := strings.CutPrefix(line, "$ ")
		if !isCommand {
			continue
		}
		command = strings.TrimSuffix(command, "\n")
		var out string
		if until != "" {
			out, until = d.await(command, until), ""
		} else {
			out, _ = d.run(command)
		}
		b.WriteString(line + out)
	}
	return b.String()
}

// TestADayWithRetinue runs every command of docs/day-with-retinue.md, from the first queue to the last application, and compares what is
// printed, ages and times aside; with -update it writes what is another.
//
// Seen failing when a sentence of a reason had changed, and when a command was left out of the program.
func TestADayWithRetinue(t *testing.T) {
	s := newStage(t, 4, 8)
	s.simulate()
	page, err := os.ReadFile(dayPage)
	require.NoError(t, err)
	d := &day{stage: s, dir: t.TempDir()}
	programs := t.TempDir()
	built, err := exec.CommandContext(t.Context(), "go", "build", "-o", programs, "retinue.dev/retinue/cmd/kubectl-retinue", "retinue.dev/retinue/test/sparksim/cmd/sparksim").CombinedOutput()
	require.NoError(t, err, "%s", built)
	binaries, err := filepath.Abs(s.cluster.Config().Binaries)
	require.NoError(t, err)
	soon := lasting.ReplaceAll(prometheus.Rules(t), []byte("for: 2s"))
	d.env = append(os.Environ(), "PROMETHEUS=http://"+prometheus.Scrape(t, s.cluster, soon), "PATH="+programs+":"+binaries+":"+os.Getenv("PATH"), "HOME="+programs, "KUBECONFIG="+s.cluster.Kubeconfig())
	require.NoError(t, os.Mkdir(filepath.Join(d.dir, "bin"), 0o755))
	require.NoError(t, os.Symlink(s.cluster.Kubeconfig(), filepath.Join(d.dir, "bin/kubeconfig"))) // which sparksim reads
	s.namespaces = append(s.namespaces, "etl-prod", "adhoc")
	t.Cleanup(func() {
		if out, err := s.cluster.Kubectl(context.Background(), "delete", "queues", "--all"); err != nil {
			t.Errorf("delete the queues: %v\n%s", err, out)
		}
	})

	commands := 0
	got := block.ReplaceAllStringFunc(string(page), func(text string) string {
		parts := block.FindStringSubmatch(text)
		remark, argument, language, content := parts[1], parts[2], parts[3], parts[4]
		switch {
		case remark == "file":
			require.NoError(t, os.WriteFile(filepath.Join(d.dir, argument), []byte(content), 0o600))
		case language == "console":
			require.Contains(t, []string{"", "until"}, remark)
			began := time.Now()
			printed := d.transcript(content, argument)
			commands += strings.Count("\n"+content, "\n$ ")
			t.Logf("after %.1f s\n%s", time.Since(began).Seconds(), printed)
			if shape(printed) != shape(content) {
				return strings.Replace(text, content, printed, 1)
			}
		default:
			t.Fatalf("a block of %s that is neither a file nor a transcript", language)
		}
		return text
	})
	require.Greater(t, commands, 20)
	if *update {
		require.NoError(t, os.WriteFile(dayPage, []byte(got), 0o644))
		return
	}
	require.Equal(t, string(page), got, fmt.Sprint("see -update of ", t.Name()))
}
