package podgroups

import (
	"testing"

	"github.com/stretchr/testify/assert"
	v1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"retinue.dev/retinue/pkg/ledger"
)

func TestNativePodGroupsAreRead(t *testing.T) {
	ofGang := func(minCount int32) schedulingv1beta1.PodGroupSpec {
		return schedulingv1beta1.PodGroupSpec{SchedulingPolicy: schedulingv1beta1.PodGroupSchedulingPolicy{Gang: &schedulingv1beta1.GangSchedulingPolicy{MinCount: minCount}}}
	}
	key := NativeKey("ns", "g")
	tests := map[string]struct {
		spec schedulingv1beta1.PodGroupSpec
		want ledger.Group
	}{
		"a gang starts with minCount":            {ofGang(3), ledger.Group{Key: key, Minimum: 3}},
		"any other with one pod":                 {schedulingv1beta1.PodGroupSpec{}, ledger.Group{Key: key, Minimum: 1}},
		"its pods go one by one if it says so":   {schedulingv1beta1.PodGroupSpec{DisruptionMode: &schedulingv1beta1.DisruptionMode{Single: &schedulingv1beta1.SingleDisruptionMode{}}}, ledger.Group{Key: key, Minimum: 1}},
		"and all or none if it says so":          {schedulingv1beta1.PodGroupSpec{DisruptionMode: &schedulingv1beta1.DisruptionMode{All: &schedulingv1beta1.AllDisruptionMode{}}}, ledger.Group{Key: key, Minimum: 1, Whole: true}},
		"one of a hierarchy is no gang":          {schedulingv1beta1.PodGroupSpec{ParentCompositePodGroupName: ptr.To("all")}, ledger.Group{Key: key, Minimum: 1, Loose: true}},
		"one that asks for a topology is none":   {schedulingv1beta1.PodGroupSpec{SchedulingConstraints: &schedulingv1beta1.PodGroupSchedulingConstraints{}}, ledger.Group{Key: key, Minimum: 1, Loose: true}},
		"more pods than anybody has are refused": {ofGang(1 << 30), ledger.Group{Key: key, Minimum: 1 << 30, Problem: "PodGroup ns/g: spec.schedulingPolicy.gang.minCount=1073741824: want 1 to 100000"}},
		"less than one pod is refused":           {ofGang(-1), ledger.Group{Key: key, Minimum: -1, Problem: "PodGroup ns/g: spec.schedulingPolicy.gang.minCount=-1: want 1 to 100000"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, ReadNative(&schedulingv1beta1.PodGroup{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "g"}, Spec: test.spec}))
		})
	}
}

func TestAPodNamesItsNativePodGroup(t *testing.T) {
	assert.Empty(t, NativeNameOf(&v1.Pod{}))
	assert.Empty(t, NativeNameOf(&v1.Pod{Spec: v1.PodSpec{SchedulingGroup: &v1.PodSchedulingGroup{}}}))
	assert.Equal(t, "g", NativeNameOf(&v1.Pod{Spec: v1.PodSpec{SchedulingGroup: &v1.PodSchedulingGroup{PodGroupName: ptr.To("g")}}}))
	assert.NotEqual(t, Key("ns", "g"), NativeKey("ns", "g"))
}
