package plugin

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/spark"
)

// fetches is how often a ConfigMap has been read so far. It fails when ConfigMaps were listed or watched, for which
// the scheduler has no right.
func (h *harness) fetches() int {
	n := 0
	for _, action := range h.client.Actions() {
		if action.GetResource().Resource != "configmaps" {
			continue
		}
		switch action.GetVerb() {
		case "get":
			n++
		case "create", "delete": // by the tests
		default:
			h.t.Errorf("ConfigMaps: %s", action.GetVerb())
		}
	}
	return n
}

// templated is a driver whose executors have a template.
func templated(name string) *v1.Pod {
	pod := driver(name)
	pod.Spec.Volumes = append(pod.Spec.Volumes, v1.Volume{Name: "pod-template-volume", VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{
		LocalObjectReference: v1.LocalObjectReference{Name: name + "-template"},
	}}})
	return pod
}

// template is the ConfigMap with the template of a driver's executors.
func template(driver *v1.Pod, text string) *v1.ConfigMap {
	configMap := properties(driver)
	configMap.Name = driver.Name + "-template"
	configMap.Data = map[string]string{"podspec-configmap-key": text}
	return configMap
}

func (h *harness) removeMap(name string) {
	require.NoError(h.t, h.client.CoreV1().ConfigMaps("ns").Delete(h.ctx, name, metav1.DeleteOptions{}))
}

// works shows that others are served as ever.
func (h *harness) works(name string) {
	h.submit(name, 1, 1)
	assert.True(h.t, h.schedule(name).status.IsSuccess())
	h.told()
	h.remove(name)
}

// Asked often at first, since the map is a fraction of a second late, then seldom; and the user hears of it once.
func TestAMapThatIsLateIsAskedForQuicklyThenSlowly(t *testing.T) {
	bubble(t, "", nodes(4, "a"), func(h *harness) {
		pod := driver("app")
		h.create(pod)
		h.after(time.Second)
		assert.GreaterOrEqual(t, h.fetches(), 4, "in the first second")
		h.after(58 * time.Second)
		assert.Empty(t, h.told(), "within the time that a definition may take")
		assert.Empty(t, h.condition("app"))
		h.after(lastRetry + 2*time.Second)
		const overdue = "the configuration of the application is missing for 1m0s: ConfigMap ns/app-conf is not there yet"
		assert.Equal(t, []string{"Normal GangIncomplete " + overdue, "Normal GangIncomplete " + overdue}, h.told(), "and once more after five minutes")
		assert.Equal(t, "GangIncomplete: "+overdue, h.condition("app"))

		before := h.fetches()
		h.after(10 * time.Minute)
		assert.Len(t, h.told(), 1, "and once more after fifteen")
		assert.InDelta(t, 10*time.Minute/lastRetry, h.fetches()-before, 1)
		assert.Empty(t, h.woken())
		h.works("other")

		h.woken()
		h.create(properties(pod, executors(1, 1)...))
		h.after(lastRetry)
		assert.Equal(t, []string{"app"}, h.woken())
		before = h.fetches()
		assert.True(t, h.schedule("app").status.IsSuccess())
		h.after(10 * time.Minute)
		assert.Equal(t, before, h.fetches(), "what is known is not asked for again")
	})
}

func TestATemplateThatIsLateIsWaitedFor(t *testing.T) {
	bubble(t, "", nodes(8, "a"), func(h *harness) {
		pod := templated("app")
		h.create(pod, properties(pod, executors(1, 1)...))
		h.after(30 * time.Second)
		assert.Equal(t, gang.Forming, h.phase("app"), "never sized without the sidecars of its template")
		h.create(template(pod, "spec: {containers: [{name: main}, {name: side, image: side, resources: {requests: {cpu: 4}}}]}"))
		h.after(lastRetry)
		require.Equal(t, gang.Waiting, h.phase("app"))
		require.True(t, h.schedule("app").status.IsSuccess())
		assert.Contains(t, h.pod("app").Annotations[AnnotationReservation], `"cpu":"5"`)
	})
}

// A submitter that lives long may use the name of a map again: the map of the application before is not mistaken for
// that of this one, whatever it says.
func TestAMapOfAnotherDriverIsNotBelieved(t *testing.T) {
	for name, change := range map[string]func(*v1.ConfigMap){
		"of another pod":             func(m *v1.ConfigMap) { m.OwnerReferences[0].UID = "another-uid" },
		"of nobody":                  func(m *v1.ConfigMap) { m.OwnerReferences = nil },
		"of another pod, and broken": func(m *v1.ConfigMap) { m.OwnerReferences[0].UID, m.Data = "another-uid", nil },
		"of no uid":                  func(m *v1.ConfigMap) { m.OwnerReferences[0].UID = "" },
	} {
		for _, which := range []string{"app-conf", "app-template"} {
			t.Run(which+" "+name, func(t *testing.T) {
				bubble(t, "", nodes(8, "a"), func(h *harness) {
					pod := templated("app")
					right := map[string]*v1.ConfigMap{"app-conf": properties(pod, executors(1, 2)...), "app-template": template(pod, "spec: {}")}
					for name, configMap := range right {
						if name == which {
							configMap = configMap.DeepCopy()
							change(configMap)
						}
						h.create(configMap)
					}
					h.create(pod)
					h.after(30 * time.Second)
					assert.Equal(t, gang.Forming, h.phase("app"))
					assert.Empty(t, h.told())
					h.after(time.Minute)
					told := h.told()
					require.Len(t, told, 1)
					assert.Contains(t, told[0], "Normal GangIncomplete ")
					assert.Contains(t, told[0], "the ConfigMap belongs to another pod: ConfigMap "+which+", driver app with uid app-uid")

					h.removeMap(which)
					h.create(right[which])
					h.after(lastRetry)
					assert.Equal(t, []string{"app"}, h.woken())
					assert.True(t, h.schedule("app").status.IsSuccess())
				})
			})
		}
	}
}

// What only its user can mend is told once, on the driver, and not asked for again. Nobody else is hurt.
func TestAMistakeIsToldOnceAndHurtsNobodyElse(t *testing.T) {
	wrong := func(lines ...string) func(*v1.Pod) []runtime.Object {
		return func(pod *v1.Pod) []runtime.Object {
			return []runtime.Object{properties(pod, lines...), template(pod, "spec: {}")}
		}
	}
	tests := map[string]struct {
		maps func(*v1.Pod) []runtime.Object
		want string
	}{
		"a size that is none":     {wrong("spark.executor.memory=plenty"), `spark.executor.memory="plenty": not a size such as 512m or 4g (a whole number and one of b, k, m, g, t, p)`},
		"executors without end":   {wrong("spark.executor.instances=9999999999"), `spark.executor.instances="9999999999": number out of range`},
		"text that cannot be":     {wrong("#", `a=\u12`), `spark.properties: line 2: a \u escape needs four hexadecimal digits`},
		"more than a map holds":   {wrong(strings.Repeat("#", spark.MaxBytes)), "spark.properties has 1572865 bytes, more than 1572864"},
		"a map without the key":   {func(pod *v1.Pod) []runtime.Object { m := properties(pod); m.Data = nil; return []runtime.Object{m} }, "ConfigMap app-conf has no key spark.properties"},
		"a template that is none": {func(pod *v1.Pod) []runtime.Object { return []runtime.Object{properties(pod), template(pod, "spec: 7")} }, "the executor pod template: not a pod: spec is of the wrong kind: number"},
		"a template too large": {func(pod *v1.Pod) []runtime.Object {
			return []runtime.Object{properties(pod), template(pod, strings.Repeat(" ", spark.MaxTextBytes+1))}
		}, "the executor pod template: 65537 bytes, more than 65536"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, "", nodes(4, "a"), func(h *harness) {
				pod := templated("app")
				h.create(pod)
				h.create(test.maps(pod)...)
				h.after(lastRetry)
				assert.Equal(t, []string{"Warning InvalidGang " + test.want}, h.told())
				assert.Equal(t, "InvalidGang: "+test.want, h.condition("app"))
				assert.Equal(t, "InvalidGang: "+test.want, h.schedule("app").status.Message())
				assert.Equal(t, gang.Invalid, h.phase("app"))
				fetched := h.fetches()
				h.after(10 * time.Minute)
				assert.Equal(t, []string{"Warning InvalidGang " + test.want}, h.told(), "once more after five minutes")
				assert.Equal(t, fetched, h.fetches())
				h.works("other")
				h.remove("app")
				assert.Equal(t, ledger.Census{Synced: true}, h.plugin.Ledger().Census())
			})
		})
	}
}

// What the user says wins over what could be inferred, which is not even read; a mistake in it is no reason to guess.
func TestWhatALeaderSaysIsNotInferred(t *testing.T) {
	for name, test := range map[string]struct {
		roles string
		want  []string // the events
		slots string   // of the reservation
	}{
		"right": {"[{name: executor, count: 3, requests: {cpu: 1}}]", nil, `"slots":[{"role":0,"node":"a","count":3}]`},
		"wrong": {"[{name: executor, count: -3, requests: {cpu: 1}}]",
			[]string{`Warning InvalidGang annotation retinue.dev/roles="[{name: executor, count: -3, requests: {cpu: 1}}]": [0].count=-3: want 0 to 100000`}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, "", nodes(4, "a"), func(h *harness) {
				pod := driver("app")
				pod.Annotations = map[string]string{spark.AnnotationRoles: test.roles}
				h.create(properties(pod, executors(1, 1)...), pod)
				h.after(time.Second)
				h.schedule("app")
				assert.Equal(t, test.want, h.told())
				assert.Contains(t, h.pod("app").Annotations[AnnotationReservation], test.slots)
				assert.Zero(t, h.fetches())
			})
		})
	}
}

// An annotation, unlike a ConfigMap of Spark, can be mended in place.
//
// Seen failing when only labels and the spec of a pod were compared.
func TestAMendedAnnotationIsReadAgain(t *testing.T) {
	const right = "[{name: task, count: 1, requests: {cpu: 2}, selector: {app: flink}}]"
	for name, first := range map[string]string{
		"it was wrong":               "[{name: task, count: many}]",
		"it asked for too much":      "[{name: task, count: 1, requests: {cpu: 9}, selector: {app: flink}}]",
		"there was none, a lone one": "",
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, "", append(nodes(4, "a"), on("a", lone("other", 1))), func(h *harness) {
				pod := lone("leader", 1)
				if first != "" {
					pod.Annotations = map[string]string{spark.AnnotationRoles: first}
				}
				h.create(pod)
				h.after(time.Second)
				if first != "" {
					require.False(t, h.schedule("leader").status.IsSuccess())
				}
				h.told()
				h.woken()
				mended := h.pod("leader")
				mended.Annotations = map[string]string{spark.AnnotationRoles: right}
				h.update(mended)
				h.after(time.Second)
				assert.Contains(t, h.woken(), "leader")
				a := h.schedule("leader")
				require.True(t, a.status.IsSuccess(), "%s: %v", a.point, a.status)
				assert.Contains(t, h.pod("leader").Annotations[AnnotationReservation], `"slots":[{"role":0,"node":"a","count":1}]`)
			})
		})
	}
}

// The API server's mistakes pass; the last of them is told when it lasts.
func TestErrorsOfTheAPIServerAreTriedAgain(t *testing.T) {
	resource := schema.GroupResource{Resource: "configmaps"}
	tests := map[string]error{
		"it is overloaded":  apierrors.NewTooManyRequestsError("slow down"),
		"it is broken":      apierrors.NewInternalError(errors.New("etcd is on holiday")),
		"it cannot be seen": errors.New("connection refused"),
		"a right is missing": apierrors.NewForbidden(resource, "app-conf",
			errors.New("User \"retinue\" cannot get resource \"configmaps\"")),
	}
	for name, problem := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, "", nodes(4, "a"), func(h *harness) {
				failing := true // read and written while everybody else waits
				h.client.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
					return failing, nil, problem
				})
				pod := driver("app")
				h.create(pod, properties(pod, executors(1, 1)...))
				h.after(30 * time.Second)
				assert.Empty(t, h.told())
				assert.Equal(t, gang.Forming, h.phase("app"))
				h.after(time.Minute)
				assert.Equal(t, []string{"Normal GangIncomplete the configuration of the application is missing for 1m0s: " + problem.Error()}, h.told())
				failing = false
				h.after(lastRetry)
				assert.Equal(t, gang.Waiting, h.phase("app"))
				assert.True(t, h.schedule("app").status.IsSuccess())
			})
		})
	}
}

func TestADriverThatIsGoneIsNotAskedAboutAnyMore(t *testing.T) {
	bubble(t, "", nodes(4, "a"), func(h *harness) {
		h.create(driver("app"))
		h.after(10 * time.Second)
		h.remove("app")
		h.after(lastRetry)
		before := h.fetches()
		h.after(10 * time.Minute)
		assert.Equal(t, before, h.fetches())
		assert.Empty(t, h.told())
		assert.Empty(t, h.plugin.definer.leaders)
		assert.Equal(t, ledger.Census{Synced: true}, h.plugin.Ledger().Census())

		// Another one of the same name is another one: the map of the former is not its own.
		former, next := driver("app"), driver("app")
		next.UID = "next-uid"
		h.create(next, properties(former, executors(9, 9)...))
		h.after(lastRetry)
		assert.Empty(t, h.woken())
		h.removeMap("app-conf")
		h.create(properties(next, executors(1, 1)...))
		h.after(lastRetry)
		assert.Equal(t, []string{"app"}, h.woken())
		assert.True(t, h.schedule("app").status.IsSuccess())
	})
}

// A driver that ends while the answer is on its way leaves nothing behind.
func TestADriverThatEndsWhileItsMapIsRead(t *testing.T) {
	bubble(t, "", nodes(4, "a"), func(h *harness) {
		h.client.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
			// A call to the fake API server from here would wait for this one.
			h.plugin.tell(ledger.PodGone{UID: "app-uid"})
			return false, nil, nil
		})
		pod := driver("app")
		h.create(properties(pod, executors(1, 1)...), pod)
		h.after(time.Second)
		assert.Equal(t, 1, h.fetches())
		h.remove("app")
		assert.Empty(t, h.told())
		assert.Empty(t, h.woken())
		assert.Empty(t, h.plugin.definer.leaders)
		assert.Equal(t, ledger.Census{Synced: true}, h.plugin.Ledger().Census())
	})
}

// TestSecretsStayWhereTheyAre puts a secret wherever users put theirs, and looks for it wherever the plugin writes.
//
// Seen failing when the log named a gang by its driver's whole pod instead of by its name, and when errors repeated what
// a reference brings in.
func TestSecretsStayWhereTheyAre(t *testing.T) {
	const secret = "hunter2"
	hidden := []string{
		"spark.hadoop.fs.s3a.secret.key=" + secret, "spark.authenticate.secret=" + secret, "spark.kubernetes.driverEnv.TOKEN=" + secret,
		"spark.executorEnv.TOKEN=" + secret, "spark.ssl.keyStorePassword=" + secret,
	}
	hide := func(pod *v1.Pod) *v1.Pod {
		pod.Spec.Containers[0].Env = []v1.EnvVar{{Name: "TOKEN", Value: secret}}
		pod.Spec.Containers[0].Args = []string{"--password", secret}
		pod.Annotations = map[string]string{"example.com/token": secret}
		return pod
	}
	const text = "metadata: {annotations: {token: hunter2}}\n" +
		"spec: {containers: [{name: main, env: [{name: TOKEN, value: hunter2}], command: [run, hunter2], args: [hunter2]}], volumes: [{name: v, csi: {driver: d, volumeAttributes: {token: x}}}]}\n"
	for name, lines := range map[string][]string{
		"all is well":                nil,
		"a mistake elsewhere":        {"spark.executor.memory=plenty"},
		"a reference to a secret":    {"spark.executor.memory=${spark.authenticate.secret}"},
		"a name that is a secret":    {"spark.kubernetes.executor.scheduler.name=${spark.authenticate.secret}"},
		"a broken line with it":      {"spark.x=" + secret + `\u1`},
		"a line that is no property": {secret},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, "", nodes(8, "a"), func(h *harness) {
				pod := hide(templated("app"))
				h.create(pod)
				h.after(2 * time.Minute)
				h.create(properties(pod, append(append(executors(1, 1), hidden...), lines...)...), template(pod, text))
				h.after(lastRetry)
				h.schedule("app")
				h.create(hide(executor("exec-1", "app", 2)))
				h.schedule("exec-1")
				h.after(10 * time.Minute)
				written := []string{h.log.String(), strings.Join(h.told(), "\n"), h.condition("app"), h.condition("exec-1"), h.pod("app").Annotations[AnnotationReservation]}
				require.NotEmpty(t, written[0])
				for i, where := range []string{"log", "events", "condition of the driver", "condition of the executor", "reservation"} {
					if at := strings.Index(written[i], secret); at >= 0 {
						t.Errorf("%s: …%s…", where, written[i][max(0, at-200):at+len(secret)])
					}
				}
				h.remove("app")
				h.remove("exec-1")
			})
		})
	}
}
