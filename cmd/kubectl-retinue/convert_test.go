package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const capacityScheduler = `<configuration>
<property><name>yarn.scheduler.capacity.root.queues</name><value>etl,adhoc</value></property>
<property><name>yarn.scheduler.capacity.root.etl.capacity</name><value>70</value></property>
<property><name>yarn.scheduler.capacity.root.adhoc.capacity</name><value>30</value></property>
<property><name>yarn.scheduler.capacity.node-locality-delay</name><value>40</value></property>
</configuration>`

func TestConvertPrintsManifestsAndAReport(t *testing.T) {
	file := write(t, "capacity-scheduler.xml", capacityScheduler)
	code, stdout, stderr := call("convert", file, "--cluster-resources", "cpu=100,memory=400Gi")
	require.Zero(t, code, stderr)
	require.True(t, strings.HasPrefix(stdout, `---
# root.etl
apiVersion: retinue.dev/v1alpha1
kind: Queue
metadata:
  name: etl
spec:
  guaranteed:
    cpu: "69" # 70% of the cluster
    memory: 286719Mi # 70% of the cluster
  namespaces:
    - etl
  weight: 70
---
# root.adhoc
`), stdout)
	require.Contains(t, stderr, "Carried over (3)\n")
	require.Contains(t, stderr, "No place here (1)\n  yarn.scheduler.capacity.node-locality-delay = 40\n      executors do not wait for data\n")

	report := write(t, "report.txt", "")
	code, again, stderr := call("convert", file, "--cluster-resources", "cpu=100,memory=400Gi", "--report", report)
	require.Zero(t, code)
	require.Equal(t, stdout, again)
	require.Empty(t, stderr)
	text, err := os.ReadFile(report)
	require.NoError(t, err)
	require.Contains(t, string(text), "Carried over (3)\n")
}

func TestConvertUpdatesAFileInPlace(t *testing.T) {
	_, manifests, _ := call("convert", write(t, "capacity-scheduler.xml", capacityScheduler), "--cluster-resources", "cpu=100,memory=400Gi")
	file := write(t, "queues.yaml", "# ours\n"+manifests)
	code, stdout, stderr := call("convert", "--update", file, "--cluster-resources", "cpu=200,memory=400Gi")
	require.Zero(t, code, stderr)
	require.Equal(t, file+": 2 amounts are others now\n", stdout)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, strings.NewReplacer(`"69" #`, `"139" #`, `"30" #`, `"60" #`).Replace("# ours\n"+manifests), string(text))
	is, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), is.Mode())
}

func TestConvertSaysWhatIsWrong(t *testing.T) {
	file := write(t, "capacity-scheduler.xml", capacityScheduler)
	for want, args := range map[string][]string{
		"one file at a time, not 0":                                        {},
		`--cluster-resources="cpu=1": memory is missing, or less than one`: {file, "--cluster-resources", "cpu=1"},
		`--cluster-resources="cpu=x,memory=1Gi": cpu: "x" is no amount`:    {file, "--cluster-resources", "cpu=x,memory=1Gi"},
		`--label-resources="gpu": want LABEL:cpu=…,memory=…`:               {file, "--label-resources", "gpu"},
		`--label-key="a b": no key of a label`:                             {file, "--label-key", "a b"},
		"--update needs --cluster-resources":                               {file, "--update"},
		"open /nowhere.xml: no such file or directory":                     {"/nowhere.xml"},
		file + `: yarn.scheduler.capacity.root.adhoc.capacity: "30": the size of the cluster is not known: give it, as in --cluster-resources cpu=100,memory=400Gi`: {file},
	} {
		code, stdout, stderr := call(append([]string{"convert"}, args...)...)
		require.Equal(t, exitBadInput, code)
		require.Empty(t, stdout)
		require.Equal(t, "error: "+want+"\n", stderr)
	}
}
