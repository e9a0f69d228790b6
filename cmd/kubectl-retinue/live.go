package main

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"retinue.dev/retinue/pkg/limits"
	"retinue.dev/retinue/pkg/spark"
)

// fromCluster reads a driver and the ConfigMaps it mounts, each by name: more than get is not needed.
func (o gangOptions) fromCluster(ctx context.Context, r *reader, name string) (application, error) {
	client, namespace := r.client, r.namespace
	driver, err := client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return application{}, fmt.Errorf("reading the driver: %w", err)
	}
	app := application{driver: driver}
	app.limits, app.unread = limitsOf(ctx, client, namespace)
	if o.version != "" {
		version, err := o.sparkVersion()
		if err != nil {
			return application{}, err
		}
		if driver.Labels == nil {
			driver.Labels = map[string]string{}
		}
		driver.Labels[spark.LabelVersion] = version.String()
	}
	read, err := applicationOf(ctx, client, driver)
	if err != nil {
		return application{}, err
	}
	app.properties, app.template = read.properties, read.template
	return app, nil
}

// applicationOf reads what a driver mounts.
func applicationOf(ctx context.Context, client kubernetes.Interface, driver *v1.Pod) (application, error) {
	app := application{driver: driver}
	if !spark.IsDriver(driver) {
		return app, nil
	}
	read := func(name string) (*v1.ConfigMap, error) {
		configMap, err := client.CoreV1().ConfigMaps(driver.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("reading what driver %s mounts: %w", driver.Name, err)
		}
		return configMap, nil
	}
	refs := spark.ConfigMaps(driver)
	if refs.Properties != "" {
		configMap, err := read(refs.Properties)
		if err != nil {
			return application{}, err
		}
		if app.properties, err = spark.PropertiesOf(configMap, driver); err != nil {
			return application{}, unlessForeign(err)
		}
	}
	if refs.Template != "" {
		configMap, err := read(refs.Template)
		if err != nil {
			return application{}, err
		}
		if app.template, err = spark.TemplateOf(configMap, driver); err != nil {
			return application{}, unlessForeign(err)
		}
	}
	return app, nil
}

// limitsOf are the LimitRanges and ResourceQuotas of a namespace. Whoever may not list them is told the rest, and unread says why.
func limitsOf(ctx context.Context, client kubernetes.Interface, namespace string) (of limits.Namespace, unread string) {
	ranges, err := client.CoreV1().LimitRanges(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return limits.Namespace{}, err.Error()
	}
	quotas, err := client.CoreV1().ResourceQuotas(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return limits.Namespace{}, err.Error()
	}
	for i := range ranges.Items { // the API server lists by name
		of.Ranges = append(of.Ranges, &ranges.Items[i])
	}
	for i := range quotas.Items {
		of.Quotas = append(of.Quotas, &quotas.Items[i])
	}
	return of, ""
}

// unlessForeign calls an error a mistake of the user unless it says that the ConfigMap belongs to another driver: the
// right one may still come.
func unlessForeign(err error) error {
	if errors.Is(err, spark.ErrOwner) {
		return err
	}
	return inputError{err}
}
