package limits

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
)

// list reads "cpu=1 memory=2Gi".
func list(text string) v1.ResourceList {
	if text == "" {
		return nil
	}
	amounts := v1.ResourceList{}
	for _, field := range strings.Fields(text) {
		name, value, _ := strings.Cut(field, "=")
		amounts[v1.ResourceName(name)] = apiresource.MustParse(value)
	}
	return amounts
}

// pod has one container.
func pod(requests, limits string) *v1.Pod {
	return &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Name: "main", Resources: v1.ResourceRequirements{Requests: list(requests), Limits: list(limits)}}}}}
}

func definition(count int, worker *v1.Pod) gang.Definition {
	return gang.Definition{Roles: []gang.Role{{Name: "executor", Count: count, Pod: worker, Requests: resource.OfPod(worker)}}}
}

// container is the rule of a LimitRange for containers.
func container(least, most, limit, request, ratio string) v1.LimitRangeItem {
	return v1.LimitRangeItem{Type: v1.LimitTypeContainer, Min: list(least), Max: list(most), Default: list(limit), DefaultRequest: list(request), MaxLimitRequestRatio: list(ratio)}
}

func ranges(items ...v1.LimitRangeItem) Namespace {
	return Namespace{Ranges: []*v1.LimitRange{{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "bounds"}, Spec: v1.LimitRangeSpec{Limits: items}}}}
}

func quotas(hard, used string, scopes ...v1.ResourceQuotaScope) Namespace {
	return Namespace{Quotas: []*v1.ResourceQuota{{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "compute"}, Spec: v1.ResourceQuotaSpec{Hard: list(hard), Scopes: scopes},
		Status: v1.ResourceQuotaStatus{Hard: list(hard), Used: list(used)},
	}}}
}

func TestWhatANamespaceWillRefuseIsSaidWithObjectAndNumbers(t *testing.T) {
	executor := pod("cpu=4 memory=1Gi", "memory=1Gi")
	leader := pod("cpu=1 memory=1Gi", "memory=1Gi")
	tests := map[string]struct {
		namespace Namespace
		count     int
		worker    *v1.Pod
		want      string
	}{
		"nothing is there": {Namespace{}, 4, executor, ""},
		"more than the maximum": {ranges(container("", "cpu=2", "cpu=2", "cpu=2", "")), 2, executor,
			"container main of the executor pod requests cpu 4, and its limit is 2, which is the default of LimitRange team-a/bounds: the API server will refuse it"},
		"a limit above the maximum": {ranges(container("", "cpu=2", "", "", "")), 2, pod("cpu=1", "cpu=4"),
			"LimitRange team-a/bounds allows cpu of a container up to 2, and 4 is the limit of container main of the executor pod: the API server will refuse it"},
		"a default limit below what is requested": {ranges(container("", "", "cpu=500m", "cpu=500m", "")), 2, pod("cpu=1", ""),
			"container main of the executor pod requests cpu 1, and its limit is 500m, which is the default of LimitRange team-a/bounds: the API server will refuse it"},
		"less than the minimum": {ranges(container("memory=2Gi", "", "", "", "")), 2, executor,
			"LimitRange team-a/bounds wants memory of a container to be at least 2Gi, and 1Gi is requested by container main of the executor pod: the API server will refuse it"},
		"a ratio": {ranges(container("", "", "", "", "cpu=2")), 2, pod("cpu=1", "cpu=4"),
			"LimitRange team-a/bounds allows a limit of cpu of 2 times the request, and with 1 requested 4 is the limit of container main of the executor pod: the API server will refuse it"},
		"a whole pod": {ranges(v1.LimitRangeItem{Type: v1.LimitTypePod, Max: list("memory=512Mi")}), 2, executor,
			"LimitRange team-a/bounds allows memory of a pod up to 512Mi, and 1Gi is the limit of the whole of the executor pod: the API server will refuse it"},
		"all pods together": {quotas("requests.cpu=16", ""), 4, executor,
			"ResourceQuota team-a/compute allows requests.cpu 16, and the application asks for 17 with its leader and 4 × executor: it can never start whole"},
		"as much as all pods together": {quotas("requests.cpu=17", "requests.cpu=17"), 4, executor, ""},
		"the number of pods": {quotas("count/pods=4", ""), 4, executor,
			"ResourceQuota team-a/compute allows count/pods 4, and the application asks for 5 with its leader and 4 × executor: it can never start whole"},
		"what every container has to specify": {quotas("limits.cpu=100", ""), 4, executor,
			"ResourceQuota team-a/compute counts limits.cpu, which every container has to specify, and container main of the executor pod does not: the API server will refuse it"},
		"a quota for other pods": {quotas("requests.cpu=1", "", v1.ResourceQuotaScopeBestEffort), 4, executor, ""},
		"a quota of devices": {quotas("requests.nvidia.com/gpu=3", ""), 4, pod("cpu=1 nvidia.com/gpu=1", "nvidia.com/gpu=1"),
			"ResourceQuota team-a/compute allows requests.nvidia.com/gpu 3, and the application asks for 4 with its leader and 4 × executor: it can never start whole"},
		"no workers at the start": {quotas("requests.cpu=4", ""), 0, executor, ""},
		"very many workers": {quotas("requests.memory=1Ei", ""), 100_000, pod("memory=1Pi", ""),
			"ResourceQuota team-a/compute allows requests.memory 1Ei, and the application asks for 112589990684262401Ki with its leader and 100000 × executor: it can never start whole"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := definition(test.count, test.worker)
			got := test.namespace.Apply(leader, &d)
			if name == "very many workers" { // in whichever unit
				assert.Contains(t, got, "allows requests.memory 1Ei")
				return
			}
			assert.Equal(t, test.want, got)
		})
	}
}

func TestDefaultsOfALimitRangeCountForPlacement(t *testing.T) {
	d := definition(2, pod("cpu=1", ""))
	role := d.Roles[0].Pod
	assert.Empty(t, ranges(container("", "", "memory=2Gi", "memory=1Gi", "")).Apply(pod("cpu=1", ""), &d))
	assert.Equal(t, "cpu 1, memory 1Gi", d.Roles[0].Requests.String())
	assert.Equal(t, []string{"the executor pod asks for cpu 1, memory 1Gi, with what LimitRange team-a/bounds adds"}, d.Warnings)
	assert.Equal(t, "cpu 1", resource.OfPod(role).String(), "the pod that was given is not changed")
}

func TestWhatOnlyAnAssumptionMakesImpossibleIsNotAssumed(t *testing.T) {
	d := definition(2, pod("cpu=1", "cpu=4"))
	d.Roles[0].Plain, d.Assumed = pod("cpu=1", "cpu=1"), "limit of cpu 4"
	assert.Empty(t, ranges(container("", "cpu=2", "", "", "")).Apply(pod("cpu=1", "cpu=1"), &d))
	assert.Equal(t, list("cpu=1"), d.Roles[0].Pod.Spec.Containers[0].Resources.Limits)
	assert.Nil(t, d.Roles[0].Plain)
	assert.Empty(t, d.Assumed)
}

func TestAQuotaThatIsUsedUpLacksSomething(t *testing.T) {
	namespace := quotas("requests.cpu=10 count/pods=100", "requests.cpu=4 count/pods=4")
	need := namespace.NeedOf(definition(4, pod("cpu=1", "")).Roles)
	one := namespace.NeedOf(definition(1, pod("cpu=1", "")).Roles)
	assert.Empty(t, namespace.Short(need, nil))
	assert.Empty(t, namespace.Short(need, one.Times(2)))
	assert.Equal(t, "ResourceQuota team-a/compute has requests.cpu 6 of 10 left, less 3 that applications which run are about to ask for, and the workers ask for 4",
		namespace.Short(need, one.Times(3)).String())
	assert.Equal(t, "ResourceQuota team-a/compute has requests.cpu 6 of 10 left, and the workers ask for 8", namespace.Short(need.Times(2), nil).String())
	used, hard := int64(7000), int64(10_000)
	assert.Equal(t, resource.Figures{Of: []resource.Figure{{Name: v1.ResourceCPU, Need: 4000, Used: &used, Limit: &hard}}}, namespace.Short(need, one.Times(3)).Figures(), "for programs, in units of cpu")
	sum := one.Times(2)
	sum.Add(one)
	assert.Equal(t, one.Times(3), sum)
	assert.Empty(t, quotas("", "").Short(need, nil), "not counted yet")
}

func TestWhatTheAPIServerWouldRefuseAtPresentIsSaid(t *testing.T) {
	roles := definition(4, pod("cpu=2", "cpu=2")).Roles
	assert.Empty(t, Namespace{}.Refuses(roles))
	assert.Empty(t, quotas("requests.cpu=10", "requests.cpu=8").Refuses(roles), "one more is let in, so more are coming")
	assert.Equal(t, "ResourceQuota team-a/compute has requests.cpu 1 of 10 left, and the workers ask for 2", quotas("requests.cpu=10", "requests.cpu=9").Refuses(roles))
	assert.Equal(t, "LimitRange team-a/bounds allows cpu of a container up to 1, and 2 is the limit of container main of the executor pod: the API server will refuse it",
		ranges(container("", "cpu=1", "", "", "")).Refuses(roles))
}
