package main

import (
	"fmt"
	"io"
	"os"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/spark"
)

// fromFiles reads an application that need not have been submitted.
func (o gangOptions) fromFiles() (application, error) {
	version, err := o.sparkVersion()
	if err != nil {
		return application{}, err
	}
	var app application
	if o.properties != "" {
		text, err := readFile("--properties", o.properties)
		if err != nil {
			return application{}, err
		}
		if app.properties, err = spark.ParseProperties(text); err != nil {
			return application{}, inputError{fmt.Errorf("--properties=%s: %w", o.properties, err)}
		}
	}
	if o.template != "" {
		text, err := readFile("--executor-template", o.template)
		if err != nil {
			return application{}, err
		}
		if app.template, err = spark.ParseTemplate(text); err != nil {
			return application{}, inputError{fmt.Errorf("--executor-template=%s: %w", o.template, err)}
		}
	}
	if o.driver == "" {
		if app.driver, err = spark.Driver(app.properties, version); err != nil {
			return application{}, inputError{err}
		}
		return app, nil
	}
	if app.driver, err = readPod("--driver-pod", o.driver); err != nil {
		return application{}, err
	}
	if o.version != "" {
		if app.driver.Labels == nil {
			app.driver.Labels = map[string]string{}
		}
		app.driver.Labels[spark.LabelVersion] = version.String()
	}
	return app, nil
}

func readPod(flag, path string) (*v1.Pod, error) {
	text, err := readFile(flag, path)
	if err != nil {
		return nil, err
	}
	pod, err := spark.ParsePod(text)
	if err != nil {
		return nil, inputError{fmt.Errorf("%s=%s: %w", flag, path, err)}
	}
	return pod, nil
}

// readFile reads no more of a file than would be accepted.
func readFile(flag, path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", inputError{fmt.Errorf("%s=%s: %w", flag, path, err)}
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, spark.MaxBytes+1))
	if err != nil {
		return "", inputError{fmt.Errorf("%s=%s: %w", flag, path, err)}
	}
	if len(text) > spark.MaxBytes {
		return "", inputError{fmt.Errorf("%s=%s: more than %d bytes", flag, path, spark.MaxBytes)}
	}
	return string(text), nil
}
