package cluster

import (
	"context"
	"os"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
)

// stopTimeout is how long a test's cluster may take to end.
const stopTimeout = 2 * time.Minute

// ForTest starts a cluster for one test in a temporary directory and on free ports, unless config says otherwise, and
// stops it when the test ends. After a failure the logs are kept, and the test says where. If the whole test process
// dies, the kernel ends the cluster's processes.
func ForTest(t testing.TB, config Config) *Cluster {
	t.Helper()
	temporary := config.Dir == ""
	if temporary {
		dir, err := os.MkdirTemp("", "retinue-test-cluster-")
		if err != nil {
			t.Fatal(err)
		}
		config.Dir = dir
	}
	if config.Progress == nil {
		config.Progress = t.Output()
	}
	began := time.Now()
	c, err := Start(t.Context(), config)
	if err != nil {
		t.Fatalf("the cluster does not start (logs are kept in %s): %v", config.Dir, err)
	}
	t.Logf("cluster started in %.1f s", time.Since(began).Seconds())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := c.Stop(ctx); err != nil {
			t.Errorf("stop the cluster: %v", err)
		}
		if t.Failed() {
			t.Logf("the logs of the cluster are kept in %s", c.path(logsDir))
			return
		}
		if temporary {
			if err := os.RemoveAll(config.Dir); err != nil {
				t.Errorf("remove the cluster's directory: %v", err)
			}
		}
	})
	return c
}

// grantTimeout is how long the API server may take to know a right that was given; milliseconds, unless it is busy.
const grantTimeout = time.Minute

// Grant gives a user rights in a namespace, by a Role and a RoleBinding of the given name, and returns when the API server
// grants the first of them: its authorizer reads roles by watches of its own, so that a right does not hold yet when the
// request that gave it has been answered.
func Grant(t testing.TB, c *Cluster, namespace, name string, user rbacv1.Subject, rules ...rbacv1.PolicyRule) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), grantTimeout)
	defer cancel()
	rbac := c.Client().RbacV1()
	if _, err := rbac.Roles(namespace).Create(ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := rbac.RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: []rbacv1.Subject{user},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: user.Name, ResourceAttributes: &authorizationv1.ResourceAttributes{
		Namespace: namespace, Group: rules[0].APIGroups[0], Resource: rules[0].Resources[0], Verb: rules[0].Verbs[0],
	}}}
	if user.Kind == rbacv1.ServiceAccountKind {
		review.Spec.User = serviceaccount.MakeUsername(user.Namespace, user.Name)
	}
	if err := wait.PollUntilContextCancel(ctx, firstInterval, true, func(ctx context.Context) (bool, error) {
		answer, err := c.Client().AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		return err == nil && answer.Status.Allowed, err
	}); err != nil {
		t.Fatalf("%s is not granted the rights of %s/%s: %v", review.Spec.User, namespace, name, err)
	}
}
