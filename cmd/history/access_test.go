package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kubernetesfake "k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"retinue.dev/retinue/pkg/history/web"
)

// TestTheAPIServerSaysWhoMaySeeWhat: ann's token is ann, and she may list the pods of etl.
func TestTheAPIServerSaysWhoMaySeeWhat(t *testing.T) {
	client, broken, reviews := kubernetesfake.NewClientset(), false, 0
	client.PrependReactor("create", "tokenreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
		if review.Spec.Token == "token-of-ann" {
			review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: "ann", Groups: []string{"team"}}}
		}
		return true, review, nil
	})
	client.PrependReactor("create", "subjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		reviews++
		if broken {
			return true, nil, errors.New("no answer")
		}
		review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
		asked := review.Spec.ResourceAttributes
		review.Status.Allowed = review.Spec.User == "ann" && review.Spec.Groups[0] == "team" && asked.Verb == "list" && asked.Resource == "pods" && asked.Group == "" && asked.Namespace == "etl"
		return true, review, nil
	})
	a, err := newAccess(client)
	require.NoError(t, err)
	request := func(prepare func(*http.Request)) *http.Request {
		in := httptest.NewRequest("GET", "/", nil)
		prepare(in)
		return in
	}
	for name, prepare := range map[string]func(*http.Request){
		"a token":    func(in *http.Request) { in.Header.Set("Authorization", "Bearer token-of-ann") },
		"a password": func(in *http.Request) { in.SetBasicAuth("bob", "token-of-ann") },
	} {
		in := request(prepare)
		viewer, err := a.viewer(in)
		require.NoError(t, err, name)
		require.Equal(t, "ann", viewer.Name, name)
		require.NotEmpty(t, in.Header.Get("Authorization"), "the request is left as it was")
		for namespace, want := range map[string]bool{"etl": true, "ml": false, "": false} {
			may, err := viewer.May(t.Context(), namespace)
			require.NoError(t, err)
			require.Equal(t, want, may, "%s %q", name, namespace)
		}
	}
	require.Equal(t, 3, reviews, "answers are remembered")
	for name, prepare := range map[string]func(*http.Request){
		"nothing":                func(*http.Request) {},
		"a token of nobody":      func(in *http.Request) { in.Header.Set("Authorization", "Bearer x") },
		"a password of nobody":   func(in *http.Request) { in.SetBasicAuth("ann", "x") },
		"a header of some proxy": func(in *http.Request) { in.Header.Set("X-Remote-User", "ann") },
	} {
		_, err := a.viewer(request(prepare))
		require.ErrorIs(t, err, web.ErrStranger, name)
	}
	broken = true
	viewer, err := a.viewer(request(func(in *http.Request) { in.SetBasicAuth("", "token-of-ann") }))
	require.NoError(t, err)
	_, err = viewer.May(t.Context(), "other")
	require.ErrorIs(t, err, errUnanswered, "not known is not forbidden, and not allowed")
}
