package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"retinue.dev/retinue/pkg/spark"
)

// submission is what arguments of spark-submit say.
type submission struct {
	// text is all settings in the format of a properties file; those that count come last.
	text string
	// namespace of the driver; empty where it is not said.
	namespace string
	// warnings are what has no effect, or another than its writer may think.
	warnings []string
}

// Options of spark-submit by what becomes of them. Its parser is the same for all cluster managers.
var (
	// settingOf are options that stand for a setting where Kubernetes is the cluster manager.
	settingOf = map[string]string{
		"--name": "spark.app.name", "--driver-memory": "spark.driver.memory", "--driver-cores": "spark.driver.cores",
		"--executor-memory": "spark.executor.memory", "--executor-cores": "spark.executor.cores", "--num-executors": "spark.executor.instances",
	}
	// elsewhere are options that Kubernetes ignores: option -> why.
	elsewhere = map[string]string{
		"--queue":                "Kubernetes ignores --queue: the namespace says which queue an application belongs to",
		"--total-executor-cores": "Kubernetes ignores --total-executor-cores: use --num-executors and --executor-cores",
		"--supervise":            "Kubernetes ignores --supervise",
	}
	// irrelevant are options with a value that change nothing of what an application asks for.
	irrelevant = []string{
		"--archives", "--class", "--driver-class-path", "--driver-default-class-path", "--driver-java-options", "--driver-library-path", "--files", "--jars", "--keytab",
		"--packages", "--exclude-packages", "--principal", "--proxy-user", "--py-files", "--repositories", "--remote", "--kill", "--status",
	}
	// switches have no value.
	switches = []string{"--supervise", "--verbose", "-v", "--load-spark-defaults", "--version", "--help", "-h", "--usage-error"}
)

// parseSubmit reads the arguments of spark-submit, with or without its own name before them. getenv finds spark-defaults.conf.
func parseSubmit(args []string, getenv func(string) string) (submission, error) {
	var s submission
	if len(args) > 0 && strings.HasPrefix(filepath.Base(args[0]), "spark-submit") {
		args = args[1:]
	}
	given := map[string]string{} // by --conf
	options := map[string]string{}
	var file, master, mode, resource string
	defaults := false
	for len(args) > 0 {
		option := args[0]
		if !strings.HasPrefix(option, "-") {
			resource = option // and what follows are arguments of the application
			break
		}
		args = args[1:]
		if slices.Contains(switches, option) {
			defaults = defaults || option == "--load-spark-defaults"
			if why, ignored := elsewhere[option]; ignored {
				s.warnings = append(s.warnings, why)
			}
			continue
		}
		name, value, joined := strings.Cut(option, "=")
		if !strings.HasPrefix(option, "--") {
			name, joined = option, false
		}
		if !joined {
			if len(args) == 0 {
				return s, fmt.Errorf("spark-submit: %s has no value", name)
			}
			value, args = args[0], args[1:]
		}
		switch setting, isSetting := settingOf[name]; {
		case name == "--conf" || name == "-c":
			key, value, found := strings.Cut(value, "=")
			if !found {
				return s, fmt.Errorf("spark-submit: %s %q: want KEY=VALUE", name, key)
			}
			if !strings.HasPrefix(key, "spark.") {
				s.warnings = append(s.warnings, fmt.Sprintf("spark-submit ignores %q, which does not begin with spark.", key))
				continue
			}
			given[key] = value
		case isSetting:
			options[setting] = value
		case name == "--properties-file":
			file = value
		case name == "--master":
			master = value
		case name == "--deploy-mode":
			mode = value
		case slices.Contains(irrelevant, name):
		default:
			if why, ignored := elsewhere[name]; ignored {
				s.warnings = append(s.warnings, why)
			} else if outdated, is := spark.OutdatedOption(name); is {
				s.warnings = append(s.warnings, outdated.String())
			} else {
				return s, fmt.Errorf("spark-submit has no option %s", name)
			}
		}
	}
	if err := s.read(file, defaults, getenv); err != nil {
		return s, err
	}
	if language := languageOf(resource); language != "" {
		options["spark.kubernetes.resource.type"] = language
	}
	// An option of its own goes before --conf, and that before what files say.
	s.text += "\n" + spark.PropertiesText(given) + spark.PropertiesText(options)
	return s, s.finish(master, mode)
}

// read puts the properties file first, or spark-defaults.conf where spark-submit would find it.
func (s *submission) read(file string, defaults bool, getenv func(string) string) error {
	var files []string
	if file == "" || defaults {
		dir := getenv("SPARK_CONF_DIR")
		if home := getenv("SPARK_HOME"); dir == "" && home != "" {
			dir = filepath.Join(home, "conf")
		}
		path := filepath.Join(dir, "spark-defaults.conf")
		if _, err := os.Stat(path); dir != "" && err == nil {
			files = append(files, path)
			s.warnings = append(s.warnings, "read "+path+", as spark-submit does")
		}
	}
	if file != "" {
		files = append(files, file)
	}
	for _, path := range files {
		text, err := readFile("--properties-file", path)
		if err != nil {
			return err
		}
		s.text += text + "\n"
	}
	return nil
}

// finish checks what an answer rests on.
func (s *submission) finish(master, mode string) error {
	settings, err := spark.ParseSubmission(s.text)
	if err != nil {
		return err
	}
	s.namespace = settings.Namespace
	for _, outdated := range settings.Outdated {
		s.warnings = append(s.warnings, outdated.String())
	}
	if master != "" && !strings.HasPrefix(master, "k8s://") {
		s.warnings = append(s.warnings, fmt.Sprintf("--master %s is taken for k8s://", master))
	}
	if mode == "client" {
		return errors.New("--deploy-mode client: there is no driver pod, and what its executors are is known when they are there; applications in cluster mode are checked")
	}
	return nil
}

// languageOf is the language of an application by what it is submitted as; empty where that is not known.
func languageOf(resource string) string {
	switch strings.ToLower(filepath.Ext(resource)) {
	case ".py":
		return "python"
	case ".r":
		return "r"
	case ".jar":
		return "java"
	}
	return ""
}
