package plugin

import (
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/plugin/informer"
)

// listenToBudgets feeds PodDisruptionBudgets to the ledger.
func (p *Plugin) listenToBudgets() (cache.InformerSynced, error) {
	handler, err := p.handle.SharedInformerFactory().Policy().V1().PodDisruptionBudgets().Informer().AddEventHandler(informer.Handlers(func(before, budget *policyv1.PodDisruptionBudget) {
		if before == nil || before.UID != budget.UID || before.Generation != budget.Generation || allowedBy(before) != allowedBy(budget) {
			p.tell(ledger.BudgetSeen{Budget: budgetOf(budget, p.logger)})
		}
	}, func(budget *policyv1.PodDisruptionBudget) {
		p.tell(ledger.BudgetGone{Namespace: budget.Namespace, Name: budget.Name})
	}))
	if err != nil {
		return nil, err
	}
	return handler.HasSynced, nil
}

// budgetOf reads a PodDisruptionBudget. One whose selector cannot be read protects nothing: the API server has the last
// word at every eviction.
func budgetOf(budget *policyv1.PodDisruptionBudget, logger klog.Logger) ledger.Budget {
	selector, err := metav1.LabelSelectorAsSelector(budget.Spec.Selector)
	if err != nil {
		logger.Error(err, "PodDisruptionBudget selects nothing", "podDisruptionBudget", klog.KObj(budget))
		selector = labels.Nothing()
	}
	return ledger.Budget{Namespace: budget.Namespace, Name: budget.Name, Selector: selector, Allowed: allowedBy(budget)}
}

// allowedBy is how many pods a budget lets go now: none as long as its controller has not seen what it says.
func allowedBy(budget *policyv1.PodDisruptionBudget) int {
	if budget.Status.ObservedGeneration < budget.Generation {
		return 0
	}
	return max(int(budget.Status.DisruptionsAllowed), 0)
}
