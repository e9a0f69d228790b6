package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// fairTrees are how many files of a FairScheduler are generated. Each is a run of fs2cs.
const fairTrees = 8

// generateFair writes files of a FairScheduler with what fs2cs converts: weights, limits, counts, and orders.
func generateFair(dir string) error {
	for i := range fairTrees {
		g := &generator{random: rand.New(rand.NewPCG(19, uint64(i)))}
		g.out.WriteString("<allocations>\n")
		g.fair(1)
		g.out.WriteString("</allocations>\n")
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("fair-%d.xml", i)), []byte(g.out.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (g *generator) fair(depth int) {
	for range 2 + g.random.IntN(3) {
		g.queues++
		fmt.Fprintf(&g.out, "<queue name=\"q%d\">\n<weight>%s</weight>\n", g.queues, strconv.FormatFloat(float64(1+g.random.IntN(100))/[]float64{1, 2, 10}[g.random.IntN(3)], 'f', -1, 64))
		if g.random.IntN(3) == 0 {
			fmt.Fprintf(&g.out, "<maxResources>memory-mb=%d, vcores=%d</maxResources>\n", 60_000+g.random.IntN(90_000), 60+g.random.IntN(70))
		}
		if g.random.IntN(3) == 0 {
			fmt.Fprintf(&g.out, "<maxRunningApps>%d</maxRunningApps>\n", 1+g.random.IntN(50))
		}
		if depth < 3 && g.random.IntN(3) == 0 {
			g.fair(depth + 1)
		} else if g.random.IntN(3) == 0 {
			fmt.Fprintf(&g.out, "<maxAMShare>0.%d</maxAMShare>\n", 1+g.random.IntN(9))
		}
		g.out.WriteString("</queue>\n")
	}
}

// FairCase is a file of a FairScheduler and what fs2cs makes of it. pkg/yarn reads it.
type FairCase struct {
	Name string `json:"name"`
	XML  string `json:"xml"`
	// Converted is a capacity-scheduler.xml.
	Converted string `json:"converted"`
}

// recordFair puts what fs2cs has written into one compressed file, one case a line.
func recordFair(dir, converted, file string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.xml"))
	if err != nil {
		return err
	}
	slices.Sort(files)
	var out bytes.Buffer
	zip, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(zip)
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".xml")
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		became, err := os.ReadFile(filepath.Join(converted, name, "capacity-scheduler.xml"))
		if err != nil {
			return err
		}
		if err := encoder.Encode(FairCase{Name: name, XML: string(text), Converted: string(became)}); err != nil {
			return err
		}
	}
	if err := zip.Close(); err != nil {
		return err
	}
	fmt.Printf("%d files of a FairScheduler: %d bytes\n", len(files), out.Len())
	return os.WriteFile(file, out.Bytes(), 0o644)
}
