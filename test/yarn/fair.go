package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
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

// recordFair packs what fs2cs has written.
func recordFair(dir, converted, file string) error {
	cases, size, err := pack(dir, file, func(name, text string) (any, error) {
		became, err := os.ReadFile(filepath.Join(converted, name, "capacity-scheduler.xml"))
		return FairCase{Name: name, XML: text, Converted: string(became)}, err
	})
	if err != nil {
		return err
	}
	fmt.Printf("%d files of a FairScheduler: %d bytes\n", cases, size)
	return nil
}
