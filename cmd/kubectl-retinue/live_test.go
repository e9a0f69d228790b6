package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// captured is an application that ran in a real cluster.
const captured = "../../pkg/spark/testdata/real/spark-4.1.4-template"

// lists are what servers list: URL -> JSON.
var lists = map[string]string{}

// serve answers like an API server that has the captured objects, except those whose file name is missing.
func serve(t *testing.T, missing ...string) (server string, driver metav1.ObjectMeta) {
	t.Helper()
	objects := map[string][]byte{} // path -> JSON
	for file, kind := range map[string]string{"driver.yaml": "pods", "configmap.yaml": "configmaps", "template-configmap.yaml": "configmaps"} {
		text, err := os.ReadFile(filepath.Join(captured, file))
		if err != nil {
			t.Fatal(err)
		}
		var object metav1.PartialObjectMetadata
		if err := yaml.Unmarshal(text, &object); err != nil {
			t.Fatal(err)
		}
		if file == "driver.yaml" {
			driver = object.ObjectMeta
		}
		encoded, err := yaml.YAMLToJSON(text)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.Join(missing, " "), file) {
			objects["/api/v1/namespaces/"+object.Namespace+"/"+kind+"/"+object.Name] = encoded
		}
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		object, found := objects[request.URL.Path]
		if list, listed := lists["http://"+request.Host+request.URL.Path]; listed {
			object, found = []byte(list), true
		}
		if request.Method != http.MethodGet || !found {
			w.WriteHeader(http.StatusNotFound)
			object = []byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,"message":"there is no such object"}`)
		}
		if _, err := w.Write(object); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, driver
}

// Seen failing before LimitRanges and ResourceQuotas were read: the gang was shown as if nothing stood in its way.
func TestWhatTheNamespaceWillRefuseIsAnError(t *testing.T) {
	kubeconfig := write(t, "kubeconfig", "apiVersion: v1\nkind: Config\n")
	for name, test := range map[string]struct {
		ranges, quotas string
		code           int
		want           string
	}{
		"a LimitRange": {ranges: `{"metadata":{"namespace":"NAMESPACE","name":"bounds"},"spec":{"limits":[{"type":"Pod","max":{"cpu":"100m"}}]}}`, code: exitBadInput,
			want: "error: LimitRange NAMESPACE/bounds wants cpu of a pod to have a limit of at most 100m, and there is none for the whole of the executor pod: the API server will refuse it\n"},
		"a quota that is too small": {quotas: `{"metadata":{"namespace":"NAMESPACE","name":"compute"},"spec":{"hard":{"pods":"1"}}}`, code: exitBadInput,
			want: "error: ResourceQuota NAMESPACE/compute allows pods 1, and the application asks for "},
		"nothing that matters": {quotas: `{"metadata":{"namespace":"NAMESPACE","name":"compute"},"spec":{"hard":{"pods":"100"}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			server, driver := serve(t)
			listed := func(kind, items string) {
				lists[server+"/api/v1/namespaces/"+driver.Namespace+"/"+kind] = `{"items":[` + strings.ReplaceAll(items, "NAMESPACE", driver.Namespace) + `]}`
			}
			listed("limitranges", test.ranges)
			listed("resourcequotas", test.quotas)
			code, stdout, stderr := call("gang", driver.Name, "-n", driver.Namespace, "--server", server, "--kubeconfig", kubeconfig)
			if code != test.code || !strings.HasPrefix(stderr, strings.ReplaceAll(test.want, "NAMESPACE", driver.Namespace)) || strings.Contains(stdout, "is not known") {
				t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
			}
		})
	}
	server, driver := serve(t)
	_, stdout, _ := call("gang", driver.Name, "-n", driver.Namespace, "--server", server, "--kubeconfig", kubeconfig)
	if want := "warning: what LimitRanges and ResourceQuotas will refuse is not known: "; !strings.Contains(stdout, want) {
		t.Errorf("no %q in\n%s", want, stdout)
	}
}

func TestADriverInTheCluster(t *testing.T) {
	server, driver := serve(t)
	kubeconfig := write(t, "kubeconfig", "apiVersion: v1\nkind: Config\n")
	code, stdout, stderr := call("gang", driver.Name, "-n", driver.Namespace, "--server", server, "--kubeconfig", kubeconfig)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{"ROLE ", "driver ", "executor ", "executor constraints: ", "source: spark.properties"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing in\n%s", want, stdout)
		}
	}
}

func TestWhatKubectlCallsADriverIsUnderstood(t *testing.T) {
	server, driver := serve(t)
	kubeconfig := write(t, "kubeconfig", "apiVersion: v1\nkind: Config\n")
	_, want, _ := call("gang", driver.Name, "-n", driver.Namespace, "--server", server, "--kubeconfig", kubeconfig)
	for _, prefix := range []string{"pod/", "pods/", "po/"} {
		code, stdout, stderr := call("gang", prefix+driver.Name, "-n", driver.Namespace, "--server", server, "--kubeconfig", kubeconfig)
		if code != 0 || stdout != want {
			t.Errorf("%s: exit code %d: %s%s", prefix, code, stdout, stderr)
		}
	}
}

// Whatever an API server says comes out as one line, and is no mistake of the user.
func TestAnAPIServerThatTalks(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"you may not\nthe policy says so"}`))
	}))
	t.Cleanup(s.Close)
	code, stdout, stderr := call("gang", "driver", "-n", "ns", "--server", s.URL, "--kubeconfig", write(t, "kubeconfig", "apiVersion: v1\nkind: Config\n"))
	if want := "error: reading the driver: you may not the policy says so\n"; code != exitFailed || stdout != "" || stderr != want {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
}

func TestObjectsThatAreNotThere(t *testing.T) {
	kubeconfig := write(t, "kubeconfig", "apiVersion: v1\nkind: Config\n")
	for missing, want := range map[string]string{
		"driver.yaml":             "error: reading the driver: there is no such object\n",
		"configmap.yaml":          "error: reading what driver DRIVER mounts: there is no such object\n",
		"template-configmap.yaml": "error: reading what driver DRIVER mounts: there is no such object\n",
	} {
		server, driver := serve(t, missing)
		code, stdout, stderr := call("gang", driver.Name, "-n", driver.Namespace, "--server", server, "--kubeconfig", kubeconfig)
		if diff := cmp.Diff(strings.ReplaceAll(want, "DRIVER", driver.Name), stderr); diff != "" {
			t.Errorf("%s: -want +got:\n%s", missing, diff)
		}
		if code != exitFailed || stdout != "" {
			t.Errorf("%s: exit code %d, output %q", missing, code, stdout)
		}
	}
}
