package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/scaleup"
	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/pkg/view"
)

// schedulerOf is the scheduler's Deployment with an image, and arguments.
func schedulerOf(image string, args ...string) *appsv1.Deployment {
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: schedulerNamespace, Name: schedulerDeployment}}
	deployment.Spec.Template.Spec.Containers = []v1.Container{{Name: schedulerContainer, Image: image, Args: args}}
	return deployment
}

// schedules adds a scheduler as manifests/base has it, which has renewed its Lease so many minutes before.
func (s *stage) schedules(before float64) {
	holder, seconds, renewed := "retinue-7d9f-x_1", int32(15), metav1.NewMicroTime(minutes(before).Time)
	s.add("Lease", &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: schedulerNamespace, Name: "retinue", Annotations: map[string]string{scaleup.ChoiceAnnotation: "Off: no autoscaler has been found"}},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &renewed}})
	s.add("Deployment", schedulerOf("retinue/scheduler:v1.37.1-retinue.1", "--config=x", "--feature-gates=A=false,SchedulerPreQueueingHints=true"))
}

// submit are arguments of spark-submit with the scheduler's name.
func submit(args ...string) []string {
	return append([]string{"check", "-n", "etl-prod", "--", "spark-submit", "--master", "k8s://https://api", "--conf", "spark.kubernetes.scheduler.name=retinue"}, args...)
}

// TestChecksAndTheirExitCodes: what fits, what waits and for what, what can never run; and nothing is created.
func TestChecksAndTheirExitCodes(t *testing.T) {
	for name, test := range map[string]struct {
		args    []string
		code    int
		prepare func(*stage)
	}{
		"check-fits.txt":        {args: submit("--num-executors", "1", "--executor-cores", "4", "local:///app.jar")},
		"check-limit.txt":       {args: submit("--num-executors", "3", "--executor-cores", "4", "local:///app.py", "--conf", "spark.executor.instances=1"), code: exitWouldWait},
		"check-never-queue.txt": {args: submit("--num-executors", "20", "--executor-cores", "4"), code: exitNever},
		"check-never-node.txt":  {args: append(submit("--executor-cores", "17"), "--num-executors=1"), code: exitNever},
		"check-invalid.txt":     {args: submit("--executor-memory", "8x"), code: exitNever},
		"check-old.txt": {args: submit("--kubernetes-namespace", "x", "--queue", "root.etl", "--conf", "spark.kubernetes.driver.docker.image=a", "--conf", "spark.kubernetes.executor.memoryOverhead=1g",
			"--conf", "spark.kubernetes.initcontainer.docker.image=b", "--conf", "spark.kubernetes.resourceStagingServer.uri=c")},
		"check-driver.txt":    {args: []string{"check", "clickstream-driver"}, code: exitWouldWait},
		"check-namespace.txt": {args: submit("--num-executors", "30"), prepare: func(s *stage) { s.onlyNamespace("etl-prod") }},
		"check-full.json":     {args: []string{"check", "-o", "json", "--", "--conf", "spark.kubernetes.namespace=kube-system", "--conf", "spark.kubernetes.scheduler.name=retinue", "--num-executors", "12", "--executor-cores", "4"}, code: exitWouldWait},
		"check-quota.txt": {args: submit("--num-executors", "2"), code: exitWouldWait, prepare: func(s *stage) {
			s.add("ResourceQuota", &v1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "etl-prod", Name: "compute"},
				Spec: v1.ResourceQuotaSpec{Hard: amountsIn("requests.cpu=40")}, Status: v1.ResourceQuotaStatus{Hard: amountsIn("requests.cpu=40"), Used: amountsIn("requests.cpu=39")}})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("SPARK_HOME", "")
			t.Setenv("SPARK_CONF_DIR", "")
			s := afternoon(t)
			if test.prepare != nil {
				test.prepare(s)
			}
			code, stdout, stderr := s.run(test.args...)
			golden(t, name, stdout+stderr)
			require.Equal(t, test.code, code, stdout+stderr)
			for _, request := range s.seen {
				require.Regexp(t, `^GET `, request, "nothing is created")
			}
		})
	}
}

func TestWrongArgumentsOfCheck(t *testing.T) {
	s := afternoon(t)
	for want, args := range map[string][]string{
		"name a driver pod, give a file with --properties, or the arguments of spark-submit after --": {"check"},
		"one application at a time: a driver pod, files, or the arguments of spark-submit after --":   {"check", "a", "b"},
		"spark-submit: --conf has no value":                           submit("--conf"),
		`spark-submit: --conf "spark.executor.cores": want KEY=VALUE`: submit("--conf", "spark.executor.cores"),
		"spark-submit has no option --executors":                      submit("--executors", "3"),
		"--deploy-mode client: there is no driver pod, and what its executors are is known when they are there; applications in cluster mode are checked": submit("--deploy-mode", "client"),
		"--properties-file=/nowhere.conf: open /nowhere.conf: no such file or directory":                                                                  submit("--properties-file", "/nowhere.conf"),
		`spark.kubernetes.namespace="b", and --namespace="a": the application goes to the former`:                                                         {"check", "-n", "a", "--", "--conf", "spark.kubernetes.namespace=b"},
		`spark.kubernetes.namespace="A_B": not the name of a namespace`:                                                                                   {"check", "--", "--conf", "spark.kubernetes.namespace=A_B"},
	} {
		code, stdout, stderr := s.run(args...)
		require.Equal(t, exitBadInput, code, want)
		require.Empty(t, stdout)
		require.Equal(t, "error: "+want+"\n", stderr)
	}
}

// TestWhatSparkSubmitMakesOfItsArguments: of a setting that is said more than once, an option of its own counts, then --conf, then the
// properties file.
func TestWhatSparkSubmitMakesOfItsArguments(t *testing.T) {
	file := write(t, "my.conf", "spark.executor.cores=1\nspark.executor.memory=1g\nspark.kubernetes.namespace=of-the-file\n")
	defaults := write(t, "spark-defaults.conf", "spark.executor.cores=7\nspark.driver.cores=7\n")
	dir := defaults[:len(defaults)-len("/spark-defaults.conf")]
	getenv := func(name string) string { return map[string]string{"SPARK_CONF_DIR": dir}[name] }
	for name, test := range map[string]struct {
		args []string
		want map[string]string
	}{
		"a file, and what overrules it": {[]string{"--properties-file", file, "-c", "spark.executor.cores=2", "--executor-cores", "3", "x.py"},
			map[string]string{"spark.executor.cores": "3", "spark.executor.memory": "1g", "spark.driver.cores": "", "spark.kubernetes.resource.type": "python"}},
		"--conf before a file":       {[]string{"--conf=spark.executor.cores=2", "--properties-file=" + file, "app.jar"}, map[string]string{"spark.executor.cores": "2", "spark.kubernetes.resource.type": "java"}},
		"defaults without a file":    {[]string{"/opt/spark/bin/spark-submit", "--verbose", "--class", "Main", "app.R"}, map[string]string{"spark.executor.cores": "7", "spark.kubernetes.resource.type": "r"}},
		"defaults below a file":      {[]string{"--load-spark-defaults", "--properties-file", file}, map[string]string{"spark.executor.cores": "1", "spark.driver.cores": "7"}},
		"what belongs to the driver": {[]string{"app.jar", "--executor-cores", "9"}, map[string]string{"spark.executor.cores": "7"}},
		"values with anything":       {[]string{"--conf", "spark.executor.cores= a\\b\n c=d"}, map[string]string{"spark.executor.cores": "a\\b\n c=d"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := parseSubmit(test.args, getenv)
			require.NoError(t, err)
			properties, err := spark.ParseProperties(s.text)
			require.NoError(t, err)
			for key, want := range test.want {
				require.Equal(t, want, properties[key].Text, key)
			}
		})
	}
}

func TestTheDoctor(t *testing.T) {
	s := afternoon(t)
	s.schedules(0.1)
	code, stdout, stderr := s.run("doctor")
	require.Zero(t, code, stderr)
	golden(t, "doctor-well.txt", stdout+stderr)

	s.schedules(30)
	s.add("Deployment", schedulerOf("retinue/scheduler", "--config=x"))
	s.queue("greedy", "", "cpu=200", "", "cpu=0", nil)
	s.add("ResourceQuota", &v1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "etl-prod", Name: "compute"}, Spec: v1.ResourceQuotaSpec{Hard: amountsIn("requests.cpu=20,pods=50")}})
	for i := range 2 {
		pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "adhoc", Name: fmt.Sprint("lost-", i), UID: types.UID(fmt.Sprint("lost", i)), CreationTimestamp: minutes(9)},
			Spec: v1.PodSpec{SchedulerName: "retinu"}, Status: v1.PodStatus{Phase: v1.PodPending}}
		s.add("Pod", pod)
	}
	daemon := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", UID: "daemon", OwnerReferences: []metav1.OwnerReference{{Kind: "DaemonSet", APIVersion: "apps/v1", Name: "proxy", Controller: new(bool)}}},
		Spec: v1.PodSpec{Containers: []v1.Container{{Resources: v1.ResourceRequirements{Requests: amountsIn("cpu=500m")}}}}, Status: v1.PodStatus{Phase: v1.PodRunning}}
	*daemon.OwnerReferences[0].Controller = true
	for i := range 6 {
		daemon.Name, daemon.Spec.NodeName = fmt.Sprint("proxy-", i), fmt.Sprint("node-", i+1)
		s.add("Pod", daemon)
	}
	s.submitted("adhoc", "whole", "tom", 2, 16, 1)
	code, stdout, stderr = s.run("doctor")
	golden(t, "doctor-ill.txt", stdout+stderr)
	require.Equal(t, exitFailed, code, stdout)

	code, stdout, stderr = s.onlyNamespace("etl-prod").run("doctor")
	golden(t, "doctor-namespace.txt", stdout+stderr)
	require.Zero(t, code)
}

// TestTheDoctorSaysHowAnAutoscalerIsAskedAndWhy: the three cases of mode Auto, and when nobody could look or has said anything. The scheduler writes
// the texts (TestTheLeaseSaysWhichModeWasChosenAndWhy in pkg/plugin/autoscaler).
//
// Seen failing when whatever was written was well, and when nothing written was.
func TestTheDoctorSaysHowAnAutoscalerIsAskedAndWhy(t *testing.T) {
	for choice, want := range map[string]struct {
		outcome view.Outcome
		finding string
	}{
		"CapacityBuffer: the cluster has CapacityBuffers, and an autoscaler answers them": {outcome: view.Well},
		"Placeholders: the cluster has nodepools of karpenter.sh/v1":                      {outcome: view.Well},
		"Off: no autoscaler has been found":                                               {outcome: view.Well},
		"Off: no autoscaler can be looked for: configmaps is forbidden":                   {outcome: view.Problem},
		"": {outcome: view.Unknown, finding: "the scheduler has not written it on its Lease yet"},
	} {
		t.Run(choice, func(t *testing.T) {
			s := afternoon(t)
			s.schedules(0.1)
			s.add("Lease", &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: schedulerNamespace, Name: "retinue", Annotations: map[string]string{scaleup.ChoiceAnnotation: choice}}})
			_, stdout, stderr := s.run("doctor", "-o", "json")
			var document doctorDocument
			require.NoError(t, json.Unmarshal([]byte(stdout), &document), stderr)
			at := slices.IndexFunc(document.Examinations, func(e view.Examination) bool { return e.Name == "how an autoscaler is asked for nodes" })
			require.GreaterOrEqual(t, at, 0)
			require.Equal(t, want.outcome, document.Examinations[at].Outcome)
			require.Equal(t, []string{cmp.Or(want.finding, choice)}, document.Examinations[at].Findings)
		})
	}
}

// TestTopShowsThoseWhoWaitFirst, of one namespace for whoever may read no other.
func TestTopShowsThoseWhoWaitFirst(t *testing.T) {
	code, stdout, stderr := afternoon(t).run("top", "--rounds", "1")
	require.Zero(t, code, stderr)
	golden(t, "top.txt", stdout)
	code, stdout, stderr = afternoon(t).onlyNamespace("etl-prod").run("top", "--rounds", "1")
	require.Zero(t, code, stderr)
	golden(t, "top-namespace.txt", stdout)
}
