package gang

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 987, time.UTC)

// What programs read is written down here: whoever changes it changes the version.
func TestTheStatusOfAPodThatWaitsReads(t *testing.T) {
	limit := Verdict{Reason: QueueLimit, Detail: quota.Verdict{Reason: quota.QueueLimit, Queue: "etl", Resource: v1.ResourceCPU, Used: 740000, Asked: 124000, Limit: 800000}}
	gangs := Verdict{Reason: QueueMaxGangs, Detail: quota.Verdict{Reason: quota.QueueMaxGangs, Queue: "etl", Used: 3, Asked: 1, Limit: 3}}
	for want, verdict := range map[string]Verdict{
		`{"version":1,"reason":"QueueLimit","sentence":"queue etl holds cpu 740 of at most 800, and 124 more is asked for; 64 too much",` +
			`"numbers":[{"resource":"cpu","need":"124","used":"740","limit":"800","short":"64"}],"actor":"nobody","since":"2026-05-04T12:00:00Z"}`: limit,
		`{"version":1,"reason":"QueueMaxGangs","sentence":"queue etl runs 3 of at most 3 gangs",` +
			`"numbers":[{"resource":"gangs","need":"1","used":"3","limit":"3","short":"1"}],"actor":"nobody","since":"2026-05-04T12:00:00Z"}`: gangs,
		`{"version":1,"reason":"InvalidGang","sentence":"minimum > maximum","permanent":true,"actor":"user","since":"2026-05-04T12:00:00Z"}`: {Reason: InvalidGang, Message: "minimum > maximum"},
	} {
		text := NewStatus(verdict, false, noon).Encode()
		assert.Equal(t, want, text)
		read, err := DecodeStatus(text)
		require.NoError(t, err)
		assert.Equal(t, text, read.Encode())
	}
	assert.Equal(t, `{"version":1}`, Status{Version: StatusVersion}.Encode(), "it waits no more")
}

func TestAStatusNamesOthersOnlyWhereTheyMayBeRead(t *testing.T) {
	v := Verdict{Reason: BehindOthers, Detail: secret{}}
	assert.Equal(t, "behind another", NewStatus(v, false, noon).Sentence)
	assert.Equal(t, "behind ns/theirs", NewStatus(v, true, noon).Sentence)
}

// long is a Detail of what users choose.
type long struct {
	sentence string
	names    int
}

func (l long) Text(bool) string { return l.sentence }

func (l long) Figures() resource.Figures {
	f := resource.Figures{Nodes: new(1 << 62)}
	for range l.names {
		most := int64(1<<63 - 1)
		name := v1.ResourceName(strings.Repeat("\u2028", 300))
		f.Of = append(f.Of, resource.Figure{Name: name, Need: most, Used: &most, Limit: &most, Free: &most})
	}
	return f
}

// Seen failing when the sentence was cut and the resources were not counted, when names were not cut, and when the text was measured before it was encoded.
func TestAStatusIsNoLongerThanItMayBe(t *testing.T) {
	for name, detail := range map[string]long{
		"a long sentence":              {strings.Repeat("x", 10_000), 0},
		"whose characters are escaped": {strings.Repeat("\x01\"\\", 10_000), 1},
		"of wide characters":           {strings.Repeat("日本", 10_000), 2},
		"that is no text":              {strings.Repeat("\xff", 10_000), 3},
		"many resources":               {"", 32},
		"all of it":                    {strings.Repeat("\u2028\x00", 10_000), 32},
	} {
		t.Run(name, func(t *testing.T) {
			text := NewStatus(Verdict{Reason: NeverFitsCluster, Detail: detail}, false, noon).Encode()
			assert.LessOrEqual(t, len(text), LongestStatus)
			assert.True(t, utf8.ValidString(text))
			read, err := DecodeStatus(text)
			require.NoError(t, err)
			assert.Equal(t, NeverFitsCluster, read.Reason)
			assert.Len(t, read.Numbers, min(detail.names, mostNumbers))
			for _, number := range read.Numbers {
				assert.NotEmpty(t, number.Short)
			}
		})
	}
}

func TestWhatIsNoStatusIsNotRead(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":         "ClusterFull",
		"another version": `{"version":2,"reason":"ClusterFull"}`,
		"no version":      `{"reason":"ClusterFull"}`,
		"too long":        `{"version":1,"sentence":"` + strings.Repeat("x", LongestStatus) + `"}`,
		"other types":     `{"version":1,"numbers":"many"}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeStatus(text)
			require.ErrorIs(t, err, ErrStatus)
		})
	}
	var fields map[string]any
	require.NoError(t, json.Unmarshal([]byte(NewStatus(Verdict{Reason: ClusterFull}, false, noon).Encode()), &fields))
	assert.NotContains(t, fields, "permanent", "what is false is left out")
}
