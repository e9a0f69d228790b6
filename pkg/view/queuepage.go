package view

import (
	"fmt"
	"io"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// maxWaitersShown is how many of those who wait a page shows.
const maxWaitersShown = 10

// WriteQueue writes the page of a queue.
func WriteQueue(out io.Writer, q Queue, borrowers, lenders []Partner, below []Queue, apps []App, style Style) error {
	var b strings.Builder
	fmt.Fprintf(&b, "queue %s: %s", q.Name, q.State)
	if q.ClosedBy != "" {
		fmt.Fprintf(&b, ", because %s is", q.ClosedBy)
	}
	b.WriteByte('\n')
	rows := [][]string{}
	row := func(name, text string) {
		if text != "" {
			rows = append(rows, []string{"  " + name, text})
		}
	}
	row("below", q.Parent)
	row("pool", q.Pool)
	namespaces := strings.Join(q.Namespaces, ", ")
	if q.Selector != "" {
		namespaces = strings.TrimPrefix(namespaces+"; all with "+q.Selector, "; ")
	}
	row("namespaces", namespaces)
	row("weight", fmt.Sprint(q.Weight))
	row("runs", fmt.Sprintf("%d, and %d wait", q.Running, q.Waiting))
	row("most wait for", q.TopReason)
	row("problem", q.Problem)
	if !q.Observed {
		row("problem", "the scheduler has said nothing about it yet")
	}
	b.WriteString(aligned(rows, nil))
	b.WriteString(aligned(q.amounts(), nil))
	for _, partners := range []struct {
		whose string
		of    []Partner
	}{{"uses what is lent, at most", borrowers}, {"lends what is borrowed, at most", lenders}} {
		for _, partner := range partners.of {
			fmt.Fprintf(&b, "  %s %s: %s\n", partner.Queue, partners.whose, Amounts(partner.Amounts))
		}
	}
	if len(below) > 0 {
		b.WriteString("queues below it\n")
		for i := range below {
			below[i].Depth -= q.Depth
		}
		if err := QueueTable().Write(&b, below, style); err != nil {
			return err
		}
	}
	if len(apps) > 0 {
		b.WriteString("applications\n")
		if err := AppTable(len(q.Namespaces) != 1 || len(below) > 0).Write(&b, apps, style); err != nil {
			return err
		}
	}
	q.waiters(&b)
	_, err := io.WriteString(out, b.String())
	return err
}

// amounts is a line for each resource.
func (q Queue) amounts() [][]string {
	lines := [][]string{{"  RESOURCE", "USED", "GUARANTEED", "LIMIT", "FAIR SHARE", "BORROWED", "LENT"}}
	for _, name := range names(q.Used, q.Guaranteed, q.Limit, q.FairShare) {
		line := []string{"  " + string(name)}
		for _, list := range []v1.ResourceList{q.Used, q.Guaranteed, q.Limit, q.FairShare, q.Borrowed} {
			text := none
			if quantity, there := list[name]; there {
				text = Amount(name, quantity)
			}
			line = append(line, text)
		}
		lent := none
		for _, loan := range q.Lent {
			if loan.Resource == name {
				lent = strings.TrimPrefix(loans([]Loan{loan}), string(name)+" ")
			}
		}
		lines = append(lines, append(line, lent))
	}
	if len(lines) == 1 {
		return nil
	}
	return lines
}

// waiters are those who wait, in order.
func (q Queue) waiters(b *strings.Builder) {
	if len(q.Waiters) == 0 {
		return
	}
	b.WriteString("who waits, in order\n")
	lines := [][]string{}
	for i, waiter := range q.Waiters[:min(len(q.Waiters), maxWaitersShown)] {
		lines = append(lines, []string{fmt.Sprintf("  %d", i+1), waiter.Namespace + "/" + waiter.Name, or(waiter.Reason)})
	}
	b.WriteString(aligned(lines, nil))
	if more := q.Waiting - int64(min(len(q.Waiters), maxWaitersShown)); more > 0 {
		fmt.Fprintf(b, "  and %d more\n", more)
	}
}
