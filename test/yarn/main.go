// Command yarn makes trees of queues for a real ResourceManager, and records what that answers as golden data of pkg/yarn.
//
//	yarn generate DIR FAIR                  write NAME.xml of both schedulers
//	yarn record DIR ANSWERS FILE            read NAME.xml, and NAME.1.json and NAME.2.json or NAME.refused, and write FILE
//	yarn record-fair FAIR CONVERTED FILE    read NAME.xml, and NAME/capacity-scheduler.xml, and write FILE
//
// make yarn-oracle runs them, and the ResourceManager and fs2cs between them.
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "generate":
		if err = generate(os.Args[2]); err == nil {
			err = generateFair(os.Args[3])
		}
	case len(os.Args) == 5 && os.Args[1] == "record-fair":
		err = recordFair(os.Args[2], os.Args[3], os.Args[4])
	case len(os.Args) == 5 && os.Args[1] == "record":
		err = record(os.Args[2], os.Args[3], os.Args[4])
	default:
		err = fmt.Errorf("want generate DIR FAIR, record DIR ANSWERS FILE, or record-fair FAIR CONVERTED FILE")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "yarn:", err)
		os.Exit(1)
	}
}

// Case is a file and what a ResourceManager answers. pkg/yarn reads it.
type Case struct {
	Name string `json:"name"`
	XML  string `json:"xml"`
	// Refused is why the ResourceManager does not start.
	Refused string   `json:"refused,omitempty"`
	Answers []Answer `json:"answers,omitempty"`
}

// Answer of the web service, without what is not compared.
type Answer struct {
	// Queues by path and label: effective minimum and maximum, each MiB of memory and vcores.
	Queues map[string]map[string][4]int64 `json:"queues"`
}

type scheduler struct {
	Scheduler struct {
		Info queue `json:"schedulerInfo"`
	} `json:"scheduler"`
}

type queue struct {
	Path       string `json:"queuePath"`
	Name       string `json:"queueName"`
	Capacities struct {
		Partitions []partition `json:"queueCapacitiesByPartition"`
	} `json:"capacities"`
	Queues struct {
		Queue []queue `json:"queue"`
	} `json:"queues"`
}

type partition struct {
	Name string `json:"partitionName"`
	Min  amount `json:"effectiveMinResource"`
	Max  amount `json:"effectiveMaxResource"`
}

type amount struct {
	Memory int64 `json:"memory"`
	VCores int64 `json:"vCores"`
}

// pack puts one case for every file of a directory into one compressed file, one case a line, and returns how many and how many bytes
// that is.
func pack(dir, file string, caseOf func(name, text string) (any, error)) (cases, size int, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.xml"))
	if err != nil {
		return 0, 0, err
	}
	slices.Sort(files)
	var out bytes.Buffer
	zip, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return 0, 0, err
	}
	encoder := json.NewEncoder(zip)
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return 0, 0, err
		}
		c, err := caseOf(strings.TrimSuffix(filepath.Base(path), ".xml"), string(text))
		if err != nil {
			return 0, 0, err
		}
		if err := encoder.Encode(c); err != nil {
			return 0, 0, err
		}
	}
	if err := zip.Close(); err != nil {
		return 0, 0, err
	}
	return len(files), out.Len(), os.WriteFile(file, out.Bytes(), 0o644)
}

// record packs the answers of a directory.
func record(dir, answers, file string) error {
	refused := 0
	cases, size, err := pack(dir, file, func(name, text string) (any, error) {
		c := Case{Name: name, XML: text}
		if why, err := os.ReadFile(filepath.Join(answers, name+".refused")); err == nil {
			c.Refused = string(why)
			refused++
			return c, nil
		}
		for _, step := range []string{".1.json", ".2.json"} {
			body, err := os.ReadFile(filepath.Join(answers, name+step))
			if err != nil {
				return nil, err
			}
			var parsed scheduler
			if err := json.Unmarshal(body, &parsed); err != nil {
				return nil, fmt.Errorf("%s%s: %w", name, step, err)
			}
			answer := Answer{Queues: map[string]map[string][4]int64{}}
			answer.add("", parsed.Scheduler.Info)
			c.Answers = append(c.Answers, answer)
		}
		return c, nil
	})
	if err != nil {
		return err
	}
	fmt.Printf("%d trees at two sizes, and %d that are refused: %d bytes\n", cases-refused, refused, size)
	return nil
}

func (a Answer) add(above string, q queue) {
	path := q.Name
	if above != "" {
		path = above + "." + q.Name
	}
	a.Queues[path] = map[string][4]int64{}
	for _, p := range q.Capacities.Partitions {
		a.Queues[path][p.Name] = [4]int64{p.Min.Memory, p.Min.VCores, p.Max.Memory, p.Max.VCores}
	}
	for _, child := range q.Queues.Queue {
		a.add(path, child)
	}
}
