package sparksim

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
)

// Submitter creates applications as spark-submit in cluster mode does. It may be used by several goroutines.
type Submitter struct {
	Client kubernetes.Interface
	Clock  clock.Clock
	// Delay is how much later than the driver pod its ConfigMaps appear; 0 means as soon as the API server allows.
	// In that time a real spark-submit is slow, or its API server.
	Delay time.Duration
	// NoService leaves the driver's headless service away. Nothing on fake nodes looks it up, and where thousands of
	// applications are to be scheduled, its endpoints only cost the API server time.
	NoService bool
}

// Submit creates the driver pod, then what it owns, and last the ConfigMap of its properties. Like spark-submit it
// deletes the driver when something after it cannot be created.
func (s Submitter) Submit(ctx context.Context, application Application) (*v1.Pod, error) {
	objects, err := application.Objects(s.Clock.Now())
	if err != nil {
		return nil, err
	}
	driver, err := s.Client.CoreV1().Pods(objects.Driver.Namespace).Create(ctx, objects.Driver, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("submit %s: create the driver: %w", application.Name, err)
	}
	if err := s.createOwned(ctx, objects, driver); err != nil {
		err = fmt.Errorf("submit %s: %w", application.Name, err)
		// The context may be the reason; the driver must not stay without its configuration.
		uid := driver.UID
		deletion := s.Client.CoreV1().Pods(driver.Namespace).Delete(context.WithoutCancel(ctx), driver.Name,
			metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
		return nil, errors.Join(err, deletion)
	}
	return driver, nil
}

func (s Submitter) createOwned(ctx context.Context, objects Objects, driver *v1.Pod) error {
	owner := ownedBy(driver)
	if !s.NoService {
		objects.Service.OwnerReferences = owner
		if _, err := s.Client.CoreV1().Services(driver.Namespace).Create(ctx, objects.Service, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create the driver's service: %w", err)
		}
	}
	if s.Delay > 0 {
		select {
		case <-s.Clock.After(s.Delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, configMap := range []*v1.ConfigMap{objects.Template, objects.Properties} {
		if configMap == nil {
			continue
		}
		configMap.OwnerReferences = owner
		if _, err := s.Client.CoreV1().ConfigMaps(driver.Namespace).Create(ctx, configMap, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create ConfigMap %s: %w", configMap.Name, err)
		}
	}
	return nil
}
