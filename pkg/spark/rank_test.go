package spark

import (
	"testing"

	"github.com/stretchr/testify/assert"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestRank(t *testing.T) {
	tests := map[string]struct {
		annotations map[string]string
		want        int32
		wantErr     string
	}{
		"none":            {},
		"a number":        {annotations: map[string]string{AnnotationRank: "-7"}, want: -7},
		"a word":          {annotations: map[string]string{AnnotationRank: "high"}, wantErr: `annotation retinue.dev/rank="high": want an integer of 32 bits; counts as 0`},
		"nothing":         {annotations: map[string]string{AnnotationRank: ""}, wantErr: `annotation retinue.dev/rank="": want an integer of 32 bits; counts as 0`},
		"a number beyond": {annotations: map[string]string{AnnotationRank: "4294967296"}, wantErr: `annotation retinue.dev/rank="4294967296": want an integer of 32 bits; counts as 0`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			rank, err := Rank(&v1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: test.annotations}})
			assert.Equal(t, test.want, rank)
			if test.wantErr != "" {
				assert.EqualError(t, err, test.wantErr)
			} else {
				assert.NoError(t, err)
			}
		})
	}
}
