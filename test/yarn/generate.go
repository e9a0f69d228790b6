package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// trees are how many are generated.
const trees = 240

// fittingTrees are how many more are generated, of amounts.
const fittingTrees = 60

// generate writes trees of every kind. The same ones every time.
func generate(dir string) error {
	for i := range trees {
		g := &generator{random: rand.New(rand.NewPCG(18, uint64(i))), prefix: fmt.Sprintf("t%dq", i)}
		kind := []string{"percent", "weight", "amount", "mixed"}[i%4]
		name := fmt.Sprintf("%s-%03d", kind, i)
		if i%12 == 4 {
			g.labelled, name = true, name+".label"
			if i > 12 {
				g.set("root.accessible-node-labels.x.capacity", "100") // and one without it
			}
		}
		if g.random.IntN(2) == 0 {
			g.set("resource-calculator", "org.apache.hadoop.yarn.util.resource.DominantResourceCalculator")
		}
		switch kind {
		case "amount":
			g.amounts("root", 1, 180_000, 150)
		default:
			g.parts("root", 1, kind, g.labelled)
		}
		if err := g.write(dir, name); err != nil {
			return err
		}
	}
	// Amounts that the cluster has.
	for i := range fittingTrees {
		g := &generator{random: rand.New(rand.NewPCG(20, uint64(i))), prefix: fmt.Sprintf("f%dq", i)}
		if i%2 == 0 {
			g.set("resource-calculator", "org.apache.hadoop.yarn.util.resource.DominantResourceCalculator")
		}
		g.fitting = true
		g.amounts("root", 1, 100_000, 95)
		if err := g.write(dir, fmt.Sprintf("fitting-%03d", i)); err != nil {
			return err
		}
	}
	return nil
}

func (g *generator) write(dir, name string) error {
	return os.WriteFile(filepath.Join(dir, name+".xml"), []byte("<configuration>\n"+g.out.String()+"</configuration>\n"), 0o644)
}

type generator struct {
	random   *rand.Rand
	labelled bool
	// fitting: no maximum is more than the cluster has.
	fitting bool
	out     strings.Builder
	// prefix of the names of queues, which no other tree has: what a ResourceManager knows of an old queue is not that of a new one.
	prefix string
	queues int
}

func (g *generator) set(name, value string) {
	fmt.Fprintf(&g.out, "<property><name>yarn.scheduler.capacity.%s</name><value>%s</value></property>\n", name, value)
}

// children of a queue, with names of their own.
func (g *generator) children(path string, depth int) []string {
	var names []string
	for range 1 + g.random.IntN(4) {
		g.queues++
		names = append(names, g.prefix+strconv.Itoa(g.queues))
	}
	if depth == 1 && len(names) == 1 {
		g.queues++
		names = append(names, g.prefix+strconv.Itoa(g.queues))
	}
	g.set(path+".queues", strings.Join(names, ","))
	return names
}

// hundred divides 100 percent into as many parts, in steps of a hundredth.
func (g *generator) hundred(n int) []string {
	left, parts := 10_000, []string{}
	for i := range n {
		part := left
		if i < n-1 {
			part = g.random.IntN(left + 1)
			if g.random.IntN(2) == 0 {
				part -= part % 100
			}
		}
		left -= part
		parts = append(parts, strconv.FormatFloat(float64(part)/100, 'f', -1, 64))
	}
	return parts
}

// parts are percentages or weights, or either.
func (g *generator) parts(path string, depth int, kind string, labelled bool) {
	names := g.children(path, depth)
	byWeight := kind == "weight" || kind == "mixed" && g.random.IntN(2) == 0
	shares := g.hundred(len(names))
	labels := g.hundred(len(names))
	for i, name := range names {
		own := path + "." + name
		zero := !byWeight && shares[i] == "0"
		if byWeight {
			shares[i] = strconv.FormatFloat(float64(1+g.random.IntN(80))/[]float64{1, 1, 2, 10}[g.random.IntN(4)], 'f', -1, 64) + "w"
		}
		g.set(own+".capacity", shares[i])
		if !byWeight && g.random.IntN(2) == 0 {
			least, _ := strconv.ParseFloat(shares[i], 64)
			g.set(own+".maximum-capacity", strconv.FormatFloat(min(100, least+float64(g.random.IntN(6000))/100), 'f', 2, 64))
		} else if g.random.IntN(3) == 0 {
			g.set(own+".maximum-capacity", "100")
		}
		zeroLabel := labels[i] == "0"
		if labelled {
			g.set(own+".accessible-node-labels", "x")
			g.set(own+".accessible-node-labels.x.capacity", labels[i])
		}
		if depth < 4 && g.random.IntN(3) == 0 && !zero && !(labelled && zeroLabel) {
			g.parts(own, depth+1, kind, labelled)
		}
	}
}

// amounts are absolute, and may be more than the cluster has.
func (g *generator) amounts(path string, depth int, memory, vcores int) {
	names := g.children(path, depth)
	for _, name := range names {
		own := path + "." + name
		m, v := 1+g.random.IntN(max(1, memory/len(names))), 1+g.random.IntN(max(1, vcores/len(names)))
		g.set(own+".capacity", fmt.Sprintf("[memory=%d,vcores=%d]", m, v))
		if depth == 1 && g.random.IntN(2) == 0 {
			mostMemory, mostVCores := m+g.random.IntN(memory), v+g.random.IntN(vcores)
			if g.fitting {
				mostMemory, mostVCores = min(mostMemory, memory), min(mostVCores, vcores)
			}
			g.set(own+".maximum-capacity", fmt.Sprintf("[memory=%d,vcores=%d]", mostMemory, mostVCores))
		}
		if depth < 4 && g.random.IntN(3) == 0 && m > 16 && v > 16 {
			g.amounts(own, depth+1, m, v)
		}
	}
}
