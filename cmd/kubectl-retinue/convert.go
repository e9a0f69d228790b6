package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"retinue.dev/retinue/pkg/yarn"
)

// convertOptions are the arguments of the convert command.
type convertOptions struct {
	streams  genericiooptions.IOStreams
	cluster  string
	labels   []string // LABEL:cpu=100,memory=400Gi
	labelKey string
	site     string // file
	report   string // file; "" means standard error
	update   bool
}

func newConvertCommand(streams genericiooptions.IOStreams) *cobra.Command {
	options := convertOptions{streams: streams}
	command := &cobra.Command{
		Use:   "convert FILE",
		Short: "Make Queues of YARN's capacity-scheduler.xml or fair-scheduler.xml.",
		Long: "Print Queues, and the namespaces, rights and policies around them, that stand for the queues of a capacity-scheduler.xml or\n" +
			"fair-scheduler.xml; and a report of every setting: carried over, changed and why, or without a place here. Nothing is applied.\n\n" +
			"Percentages and weights become amounts, of a cluster as large as --cluster-resources says. They stay beside the amounts, as\n" +
			"comments, and --update rewrites the amounts of such manifests for a cluster of another size.",
		Example: "  kubectl retinue convert capacity-scheduler.xml --yarn-site yarn-site.xml --cluster-resources cpu=2000,memory=8Ti >queues.yaml\n" +
			"  kubectl retinue convert --update queues.yaml --cluster-resources cpu=2400,memory=10Ti",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return inputError{fmt.Errorf("one file at a time, not %d", len(args))}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return options.run(args[0]) },
	}
	flags := command.Flags()
	flags.StringVar(&options.cluster, "cluster-resources", "", "what all nodes without a label of YARN have, such as cpu=2000,memory=8Ti,nvidia.com/gpu=16")
	flags.StringArrayVar(&options.labels, "label-resources", nil, "what the nodes with a label of YARN have, such as gpu:cpu=100,memory=400Gi; once for each label, which becomes a pool")
	flags.StringVar(&options.labelKey, "label-key", "yarn-node-label", "key of the label that those nodes have in Kubernetes: KEY=LABEL")
	flags.StringVar(&options.site, "yarn-site", "", "yarn-site.xml, which says whether queues take back what is theirs")
	flags.StringVar(&options.report, "report", "", "file for the report, instead of standard error")
	flags.BoolVar(&options.update, "update", false, "FILE holds manifests that this command has written: rewrite the amounts in it that have a percentage beside them, and nothing else")
	return command
}

func (o convertOptions) run(path string) error {
	settings, err := o.settings()
	if err != nil {
		return inputError{err}
	}
	text, err := readConfiguration(path)
	if err != nil {
		return inputError{err}
	}
	if o.update {
		return o.rewrite(path, text, settings)
	}
	plan, err := yarn.Convert(text, settings)
	if err != nil {
		return inputError{fmt.Errorf("%s: %w", path, err)}
	}
	if err := plan.Write(o.streams.Out); err != nil {
		return err
	}
	if o.report == "" {
		return plan.Report.Write(o.streams.ErrOut)
	}
	var report bytes.Buffer
	if err := plan.Report.Write(&report); err != nil {
		return err
	}
	return os.WriteFile(o.report, report.Bytes(), 0o644)
}

// settings reads the flags.
func (o convertOptions) settings() (settings yarn.Options, err error) {
	settings.Labels = map[string]yarn.Resources{}
	if settings.LabelKey = o.labelKey; len(validation.IsQualifiedName(o.labelKey)) > 0 {
		return settings, fmt.Errorf("--label-key=%q: no key of a label", o.labelKey)
	}
	if o.cluster != "" {
		if settings.Cluster, err = yarn.ParseResources(o.cluster); err != nil {
			return settings, fmt.Errorf("--cluster-resources=%q: %w", o.cluster, err)
		}
	}
	for _, given := range o.labels {
		label, amounts, found := strings.Cut(given, ":")
		if !found || label == "" || len(validation.IsValidLabelValue(label)) > 0 {
			return settings, fmt.Errorf("--label-resources=%q: want LABEL:cpu=…,memory=…", given)
		}
		if settings.Labels[label], err = yarn.ParseResources(amounts); err != nil {
			return settings, fmt.Errorf("--label-resources=%q: %w", given, err)
		}
	}
	if o.site != "" {
		if settings.Site, err = readConfiguration(o.site); err != nil {
			return settings, err
		}
	}
	return settings, nil
}

// rewrite replaces a file of manifests in one step.
func (o convertOptions) rewrite(path string, text []byte, settings yarn.Options) error {
	if settings.Cluster == nil {
		return inputError{errors.New("--update needs --cluster-resources")}
	}
	updated, changed, err := yarn.Update(text, settings.Cluster, settings.Labels)
	if err != nil {
		return inputError{fmt.Errorf("%s: %w", path, err)}
	}
	if changed > 0 {
		if err := replace(path, updated); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(o.streams.Out, "%s: %d amounts are others now\n", path, changed)
	return err
}

// replace writes a file anew with the rights that it had.
func replace(path string, text []byte) error {
	is, err := os.Stat(path)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".convert-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(text)
	if err := errors.Join(err, file.Chmod(is.Mode()), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// readConfiguration reads no more of a file than would be accepted.
func readConfiguration(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, yarn.MaxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > yarn.MaxBytes {
		return nil, fmt.Errorf("%s: more than %d bytes", path, yarn.MaxBytes)
	}
	return text, nil
}
