package view

import (
	"strings"

	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"

	"retinue.dev/retinue/pkg/resource"
)

// Loan is how much of a guarantee of a resource others use. Nobody records whose idle guarantee a borrower has: it is between Least
// and Most.
type Loan struct {
	Resource v1.ResourceName      `json:"resource"`
	Least    apiresource.Quantity `json:"least"`
	Most     apiresource.Quantity `json:"most"`
}

// loans are Loans in words: "cpu 15", or "cpu 5–15" where it is not known better.
func loans(of []Loan) string {
	var parts []string
	for _, loan := range of {
		text := string(loan.Resource) + " "
		if loan.Least.Cmp(loan.Most) != 0 {
			text += Amount(loan.Resource, loan.Least) + "–"
		}
		parts = append(parts, text+Amount(loan.Resource, loan.Most))
	}
	return strings.Join(parts, ", ")
}

// lend finds out what each queue lends to those beside it.
func lend(tree []Queue) {
	byName := map[string]*Queue{}
	for i := range tree {
		byName[tree[i].Name] = &tree[i]
	}
	groups := map[string][]*Queue{} // those that lend to each other
	for i := range tree {
		key := tree[i].Parent + "/" + tree[i].Pool
		groups[key] = append(groups[key], &tree[i])
	}
	for _, siblings := range groups {
		parent := byName[siblings[0].Parent]
		lists := make([]v1.ResourceList, 0, len(siblings))
		for _, queue := range siblings {
			lists = append(lists, queue.Guaranteed)
		}
		for _, name := range names(lists...) {
			lendOne(name, parent, siblings)
		}
	}
}

// lendOne finds it out for one resource. What siblings hold beyond their guarantees comes from what is idle of those of the others, from
// what their parent is guaranteed beyond all of them, and from outside of it. At the top nobody knows what comes from outside.
func lendOne(name v1.ResourceName, parent *Queue, siblings []*Queue) {
	var guaranteed, borrowed, idle int64
	for _, queue := range siblings {
		used, _ := amountOf(queue.Used, name)
		own, _ := amountOf(queue.Guaranteed, name)
		guaranteed += own
		borrowed += max(used-own, 0)
		if queue.Observed {
			idle += max(own-used, 0)
		}
	}
	least := int64(0)
	if parent != nil && parent.Observed {
		used, _ := amountOf(parent.Used, name)
		own, _ := amountOf(parent.Guaranteed, name)
		elsewhere := max(own-guaranteed, 0) + max(used-max(own, guaranteed), 0)
		least = max(borrowed-elsewhere, 0)
	}
	for _, queue := range siblings {
		used, _ := amountOf(queue.Used, name)
		own, _ := amountOf(queue.Guaranteed, name)
		mine := max(own-used, 0)
		most := min(mine, borrowed)
		if !queue.Observed || most == 0 {
			continue
		}
		queue.Lent = append(queue.Lent, Loan{Resource: name,
			Least: *resource.Quantity(name, min(max(least-(idle-mine), 0), most)), Most: *resource.Quantity(name, most)})
	}
}

// Partner is a queue that stands beside another, and has what that one lacks or the other way round.
type Partner struct {
	Queue   string          `json:"queue"`
	Amounts v1.ResourceList `json:"amounts"`
}

// Partners are those beside a queue that hold more than they are guaranteed, and those that hold less: who has what it lends, and whose it
// has of what it borrows.
func Partners(tree []Queue, name string) (borrowers, lenders []Partner) {
	var self *Queue
	for i := range tree {
		if tree[i].Name == name {
			self = &tree[i]
		}
	}
	if self == nil {
		return nil, nil
	}
	for _, queue := range tree {
		if queue.Parent != self.Parent || queue.Pool != self.Pool || queue.Name == name {
			continue
		}
		more, less := v1.ResourceList{}, v1.ResourceList{}
		for _, r := range names(queue.Borrowed, queue.Guaranteed) {
			if amount := queue.Borrowed[r]; amount.Sign() > 0 && lends(self.Lent, r) {
				more[r] = amount
			}
			if amount := self.Borrowed[r]; amount.Sign() > 0 {
				for _, loan := range queue.Lent {
					if loan.Resource == r {
						less[r] = loan.Most
					}
				}
			}
		}
		if len(more) > 0 {
			borrowers = append(borrowers, Partner{queue.Name, more})
		}
		if len(less) > 0 {
			lenders = append(lenders, Partner{queue.Name, less})
		}
	}
	return borrowers, lenders
}

func lends(of []Loan, name v1.ResourceName) bool {
	for _, loan := range of {
		if loan.Resource == name {
			return true
		}
	}
	return false
}
