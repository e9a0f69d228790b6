package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"retinue.dev/retinue/pkg/history/web"
)

// access is who asks and what he may see, by the API server's word: a token is asked for by a TokenReview, and a namespace by a
// SubjectAccessReview.
type access struct {
	authenticator authenticator.Request
	authorizer    authorizer.Authorizer
}

const (
	// rememberAccess is for how long an answer of the API server is remembered.
	rememberAccess = time.Minute
	reviewTimeout  = 10 * time.Second
)

func newAccess(client kubernetes.Interface) (*access, error) {
	again := wait.Backoff{Duration: 500 * time.Millisecond, Factor: 1.5, Jitter: 0.2, Steps: 3}
	authentication, _, err := authenticatorfactory.DelegatingAuthenticatorConfig{
		TokenAccessReviewClient: client.AuthenticationV1(), TokenAccessReviewTimeout: reviewTimeout, WebhookRetryBackoff: &again, CacheTTL: rememberAccess,
	}.New()
	if err != nil {
		return nil, fmt.Errorf("authentication: %w", err)
	}
	authorization, err := authorizerfactory.DelegatingAuthorizerConfig{
		SubjectAccessReviewClient: client.AuthorizationV1(), AllowCacheTTL: rememberAccess, DenyCacheTTL: rememberAccess / 6, WebhookRetryBackoff: &again,
	}.New()
	if err != nil {
		return nil, fmt.Errorf("authorization: %w", err)
	}
	return &access{authentication, authorization}, nil
}

// errUnanswered means that the API server does not say whether something is allowed.
var errUnanswered = errors.New("whether that is allowed is not known")

// viewer of a request. A browser, which knows no tokens, sends one as its password.
func (a *access) viewer(in *http.Request) (web.Viewer, error) {
	asking := in.Clone(in.Context()) // the token is taken out of what has been believed
	if _, password, ok := asking.BasicAuth(); ok {
		asking.Header.Set("Authorization", "Bearer "+password)
	}
	found, ok, err := a.authenticator.AuthenticateRequest(asking)
	if err != nil || !ok {
		klog.V(4).InfoS("Request of nobody", "reason", err)
		return web.Viewer{}, web.ErrStranger
	}
	return web.Viewer{Name: found.User.GetName(), May: func(ctx context.Context, namespace string) (bool, error) {
		decision, _, err := a.authorizer.Authorize(ctx, authorizer.AttributesRecord{
			User: found.User, Verb: "list", Namespace: namespace, Resource: string(v1.ResourcePods), APIVersion: "v1", ResourceRequest: true,
		})
		if err != nil && decision != authorizer.DecisionAllow {
			return false, errors.Join(errUnanswered, err)
		}
		return decision == authorizer.DecisionAllow, nil
	}}, nil
}

// everybody sees everything.
func everybody(*http.Request) (web.Viewer, error) {
	return web.Viewer{Name: "anybody", May: func(context.Context, string) (bool, error) { return true, nil }}, nil
}
