package witness

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// Object is what a witness sees come into being.
type Object interface {
	metav1.Object
	runtime.Object
}

// Birth is the first sight of an object.
type Birth struct {
	Object Object // as it was then
	// Version orders births exactly: it is the resource version, which counts all writes to the cluster.
	Version uint64
	// Seen is when the event arrived here, a few milliseconds after the write.
	Seen time.Time
}

// Births are the objects of one application that Spark made: the driver, and what the driver owns.
type Births struct {
	Driver     Birth
	ConfigMaps []Birth // in the order of their birth, as all below
	Services   []Birth
	Executors  []Birth
}

// births collects first sights. A driver is known by its UID, which what it owns refers to.
type births struct {
	drivers map[types.UID]Birth   // driver -> its birth
	owned   map[types.UID][]Birth // owner -> births of what it owns
	known   map[types.UID]bool    // every object seen
}

func newBirths() births {
	return births{drivers: map[types.UID]Birth{}, owned: map[types.UID][]Birth{}, known: map[types.UID]bool{}}
}

// add takes any state of an object; only the first counts.
func (b *births) add(object Object, seen time.Time) error {
	if b.known[object.GetUID()] {
		return nil
	}
	b.known[object.GetUID()] = true
	version, err := strconv.ParseUint(object.GetResourceVersion(), 10, 64)
	if err != nil {
		return fmt.Errorf("resource version of %s: %w", object.GetName(), err)
	}
	birth := Birth{Object: object, Version: version, Seen: seen}
	if object.GetLabels()[RoleLabel] == driver {
		b.drivers[object.GetUID()] = birth
		return nil
	}
	for _, owner := range object.GetOwnerReferences() {
		b.owned[owner.UID] = append(b.owned[owner.UID], birth)
	}
	return nil
}

// of returns the births of one application in order.
func (b *births) of(driver types.UID) Births {
	result := Births{Driver: b.drivers[driver]}
	for _, birth := range slices.SortedFunc(slices.Values(b.owned[driver]), func(x, y Birth) int { return int(x.Version) - int(y.Version) }) {
		switch {
		case birth.Object.GetLabels()[RoleLabel] == executor && isPod(birth.Object):
			result.Executors = append(result.Executors, birth)
		case isConfigMap(birth.Object):
			result.ConfigMaps = append(result.ConfigMaps, birth)
		case isService(birth.Object):
			result.Services = append(result.Services, birth)
		}
	}
	return result
}
