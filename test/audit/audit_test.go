package audit

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What an API server of 1.37 has written, shortened.
const written = `{"kind":"Event","apiVersion":"audit.k8s.io/v1","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/a/pods/b/status","verb":"patch","objectRef":{"resource":"pods","namespace":"a","name":"b","apiVersion":"v1","subresource":"status"},"responseStatus":{"code":200},"annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"ours"}}
{"kind":"Event","apiVersion":"audit.k8s.io/v1","stage":"ResponseComplete","requestURI":"/apis/storage.k8s.io/v1/csinodes?limit=500","verb":"list","objectRef":{"resource":"csinodes","apiGroup":"storage.k8s.io","apiVersion":"v1"},"responseStatus":{"code":403},"annotations":{"authorization.k8s.io/decision":"forbid","authorization.k8s.io/reason":""}}
{"kind":"Event","apiVersion":"audit.k8s.io/v1","stage":"ResponseComplete","requestURI":"/apis","verb":"get","responseStatus":{"code":200},"annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"everybody's"}}
{"kind":"Event","apiVersion":"audit.k8s.io/v1","stage":"ResponseComplete","requestURI":"/api/v1/configmaps","verb":"list","objectRef":{"resource":"configmaps","apiVersion":"v1"},"annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"another's"}}
{"kind":"Event","apiVersion":"audit.k8s.io/v1","stage":"ResponseComp`

func TestALogTellsWhichRightsWereUsedAndWhatWasRefused(t *testing.T) {
	log, err := New(t.TempDir(), "system:serviceaccount:a:b")
	require.NoError(t, err)
	var record Record
	ours := func(reason string) bool { return reason == "ours" }
	require.NoError(t, record.Read(log, ours), "before the API server has written anything")
	require.Empty(t, record)

	require.NoError(t, os.WriteFile(log.File, []byte(written), 0o600))
	require.NoError(t, record.Read(log, ours))
	require.Equal(t, map[Right]string{{"patch", "", "pods/status"}: "patch /api/v1/namespaces/a/pods/b/status"}, record.Used)
	require.Equal(t, []string{"list /apis/storage.k8s.io/v1/csinodes?limit=500"}, record.Refused)

	require.Error(t, record.read(strings.NewReader("{\n"), ours), "a line that is no event")
}
