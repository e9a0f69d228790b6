package sparksim

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/spark"
)

// The Spark settings that rule how a driver asks for its executors and when it begins to work.
const (
	batchSizeKey         = "spark.kubernetes.allocation.batch.size"
	batchDelayKey        = "spark.kubernetes.allocation.batch.delay"
	maxPendingKey        = "spark.kubernetes.allocation.maxPendingPods"
	creationTimeoutKey   = "spark.kubernetes.allocation.executor.timeout"
	podNamePrefixKey     = "spark.kubernetes.executor.podNamePrefix"
	deleteKey            = "spark.kubernetes.executor.deleteOnTermination"
	maxFailuresKey       = "spark.executor.maxNumFailures"
	idleTimeoutKey       = "spark.dynamicAllocation.executorIdleTimeout"
	registeredRatioKey   = "spark.scheduler.minRegisteredResourcesRatio"
	registeredTimeoutKey = "spark.scheduler.maxRegisteredResourcesWaitingTime"
	appNameKey           = "spark.app.name"
	disableConfigMapKey  = "spark.kubernetes.executor.disableConfigMap"
)

// settings are the values of those keys, or Spark's defaults.
type settings struct {
	batchSize         int           // executors asked for in one round
	batchDelay        time.Duration // from one round to the next
	maxPending        int           // executors that may be asked for and not run
	creationTimeout   time.Duration // until an executor that was created and never seen counts as lost
	podNamePrefix     string        // "" means one made from the application's name
	deleteEnded       bool          // executors that ended are deleted
	maxFailures       int           // failed executors that the driver survives
	idleTimeout       time.Duration // until executors that the application has too many of are deleted
	registeredRatio   float64       // of the executors of the start that have to run before work begins
	registeredTimeout time.Duration // until work begins with the executors that run
	appName           string
	configMap         bool // the executors mount a ConfigMap that the driver makes

	// Only for the executors' environment, as the user wrote them.
	driverHost, cores, memory, serviceAccount string
}

var (
	v35 = spark.Version{Major: 3, Minor: 5}
	v40 = spark.Version{Major: 4, Minor: 0}
	v42 = spark.Version{Major: 4, Minor: 2}
)

// readSettings finds the values in all of an application's properties. role is nil if it has no executors.
func readSettings(all map[string]string, version spark.Version, role *gang.Role) (settings, error) {
	r := reader{values: all}
	s := settings{
		batchSize:         r.count(batchSizeKey, defaultBatchSize(version)),
		batchDelay:        r.duration(batchDelayKey, time.Second, time.Millisecond),
		maxPending:        r.count(maxPendingKey, math.MaxInt32),
		creationTimeout:   r.duration(creationTimeoutKey, 600*time.Second, time.Millisecond),
		podNamePrefix:     all[podNamePrefixKey],
		deleteEnded:       r.flag(deleteKey, true),
		maxFailures:       r.count(maxFailuresKey, defaultMaxFailures(version, role)),
		idleTimeout:       r.duration(idleTimeoutKey, 60*time.Second, time.Second),
		registeredRatio:   r.fraction(registeredRatioKey, 0.8),
		registeredTimeout: r.duration(registeredTimeoutKey, 30*time.Second, time.Millisecond),
		appName:           all[appNameKey],
		configMap:         !r.flag(disableConfigMapKey, false),
		driverHost:        all[driverHostKey],
		cores:             cmp.Or(all["spark.executor.cores"], "1"),
		memory:            cmp.Or(all["spark.executor.memory"], "1g"),
		serviceAccount:    all[serviceAccountKey],
	}
	s.creationTimeout = max(s.creationTimeout, 5*s.batchDelay)
	if s.appName == "" {
		s.appName = "spark"
	}
	return s, r.err
}

func defaultBatchSize(version spark.Version) int {
	switch {
	case version.AtLeast(v42):
		return 20
	case version.AtLeast(v40):
		return 10
	default:
		return 5
	}
}

// defaultMaxFailures is Spark's: before 3.5 no number of failures ends the driver, and neither does it with dynamic
// allocation without an upper bound.
func defaultMaxFailures(version spark.Version, role *gang.Role) int {
	switch {
	case role == nil || role.Maximum == nil || !version.AtLeast(v35):
		return math.MaxInt32
	default:
		return max(3, 2**role.Maximum)
	}
}

// reader reads typed values and keeps the first error.
type reader struct {
	values map[string]string
	err    error
}

func (r *reader) fail(key, value, want string) {
	if r.err == nil {
		r.err = fmt.Errorf("%s=%q: want %s", key, value, want)
	}
}

func (r *reader) count(key string, missing int) int {
	text, found := r.values[key]
	if !found {
		return missing
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
	if err != nil || n < 1 {
		r.fail(key, text, "a number of at least 1")
		return missing
	}
	return int(n)
}

func (r *reader) flag(key string, missing bool) bool {
	text, found := r.values[key]
	if !found {
		return missing
	}
	value, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(text)))
	if err != nil {
		r.fail(key, text, "true or false")
		return missing
	}
	return value
}

func (r *reader) fraction(key string, missing float64) float64 {
	text, found := r.values[key]
	if !found {
		return missing
	}
	value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || value < 0 || value > 1 {
		r.fail(key, text, "a number from 0 to 1")
		return missing
	}
	return value
}

// timeUnits is suffix -> unit of Spark's time strings.
var timeUnits = map[string]time.Duration{
	"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "m": time.Minute, "min": time.Minute,
	"h": time.Hour, "d": 24 * time.Hour,
}

// duration reads a time string such as 1s or 500ms. unit is what a number without suffix counts.
func (r *reader) duration(key string, missing, unit time.Duration) time.Duration {
	text, found := r.values[key]
	if !found {
		return missing
	}
	trimmed := strings.ToLower(strings.TrimSpace(text))
	digits := strings.TrimRight(trimmed, "abcdefghijklmnopqrstuvwxyz")
	if suffix := trimmed[len(digits):]; suffix != "" {
		unit = timeUnits[suffix]
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || unit == 0 || n < 0 || n > math.MaxInt64/int64(unit) {
		r.fail(key, text, "a time such as 1s or 500ms")
		return missing
	}
	return time.Duration(n) * unit
}
