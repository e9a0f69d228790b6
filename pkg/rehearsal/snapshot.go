package rehearsal

import (
	"cmp"
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
)

// Filters runs the filters of a scheduler profile; its framework does.
type Filters interface {
	RunPreFilterPlugins(ctx context.Context, state fwk.CycleState, pod *v1.Pod) (*fwk.PreFilterResult, *fwk.Status, sets.Set[string])
	RunFilterPlugins(ctx context.Context, state fwk.CycleState, pod *v1.Pod, info fwk.NodeInfo) *fwk.Status
	RunPreFilterExtensionAddPod(ctx context.Context, state fwk.CycleState, podToSchedule *v1.Pod, podInfoToAdd fwk.PodInfo, nodeInfo fwk.NodeInfo) *fwk.Status
	RunPreFilterExtensionRemovePod(ctx context.Context, state fwk.CycleState, podToSchedule *v1.Pod, podInfoToRemove fwk.PodInfo, nodeInfo fwk.NodeInfo) *fwk.Status
}

// snapshot is the scheduler's, opened for changes. Nodes are numbered as in the View.
type snapshot struct {
	ctx     context.Context
	filters Filters
	cluster fwk.MutableSnapshotSharedLister
	blank   fwk.CycleState // where the cycle of each rehearsed pod starts

	infos   []fwk.NodeInfo // node -> as in the opened snapshot; nil when it is not there
	nodes   int            // number of nodes that are there
	pods    int            // number of pods that were on them when it was opened
	guards  int            // number of those with required anti-affinity
	scratch fwk.NodeInfo   // makes fwk.PodInfos
	serial  int            // of the last pod made
	err     error          // of a filter or of the snapshot; nothing is right any more after one
}

// open learns the nodes, and places the workers that slots wait for.
func open(ctx context.Context, filters Filters, cluster fwk.MutableSnapshotSharedLister, blank fwk.CycleState, question Question) (*snapshot, error) {
	infos, err := cluster.NodeInfos().List()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	view := question.View
	s := &snapshot{ctx: ctx, filters: filters, cluster: cluster, blank: blank, infos: make([]fwk.NodeInfo, view.Len())}
	for _, info := range infos {
		if i, known := view.Index(info.Node().Name); known && view.Object(i) != nil {
			s.infos[i] = info
			s.nodes++
			s.pods += len(info.GetPods())
			s.guards += len(info.GetPodsWithRequiredAntiAffinity())
			s.scratch = cmp.Or(s.scratch, info)
		}
	}
	if s.scratch == nil {
		return s, nil
	}
	s.scratch = s.scratch.Snapshot()
	for _, awaited := range question.Awaited {
		i, known := view.Index(awaited.Node)
		if !known || s.infos[i] == nil {
			continue
		}
		if info := s.podInfo(asCreated(awaited.Worker)); info != nil {
			info.GetPod().Spec.NodeName = awaited.Node
			s.add(info, i)
		}
		if s.err != nil {
			return nil, s.err
		}
	}
	return s, nil
}

// podInfo is a copy of a pod as the framework keeps it, which only a NodeInfo makes; nil after an error.
func (s *snapshot) podInfo(pod *v1.Pod) fwk.PodInfo {
	adder, able := s.scratch.(interface{ AddPod(*v1.Pod) })
	if !able {
		s.err = fmt.Errorf("%w: its nodes are %T", ErrSnapshot, s.scratch)
		return nil
	}
	s.serial++
	copied := *pod
	copied.UID = types.UID(fmt.Sprintf("rehearsed-%d", s.serial))
	copied.Name = string(copied.UID)
	adder.AddPod(&copied)
	pods := s.scratch.GetPods()
	return pods[len(pods)-1]
}

func (s *snapshot) name(node int) string { return s.infos[node].Node().Name }

// add puts a pod on a node and tells whether that went well.
func (s *snapshot) add(info fwk.PodInfo, node int) bool {
	if len(info.GetRequiredAntiAffinityTerms()) > 0 {
		s.guards++
	}
	if err := s.cluster.AddPod(info, s.name(node)); err != nil {
		s.err = fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return s.err == nil
}

// remove takes a pod off a node and tells whether that went well.
func (s *snapshot) remove(info fwk.PodInfo, node int) bool {
	if len(info.GetRequiredAntiAffinityTerms()) > 0 {
		s.guards--
	}
	if err := s.cluster.RemovePod(klog.FromContext(s.ctx), info.GetPod(), s.name(node)); err != nil {
		s.err = fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return s.err == nil
}

// preFilter begins a cycle for the next pod of a member, and tells whether that went well: whether its filters can be asked, or
// refuse the pod on every node.
func (s *snapshot) preFilter(m *member) bool {
	state := s.blank.Clone()
	result, status, _ := s.filters.RunPreFilterPlugins(s.ctx, state, m.pod)
	switch {
	case status.IsRejected():
		m.rejected = &refusal{status.Plugin(), status.Message()}
	case !status.IsSuccess():
		s.err = fmt.Errorf("rehearse %s: %w", m.Name, status.AsError())
		return false
	default:
		m.state, m.allowed = state, nil
		if !result.AllNodes() {
			m.allowed = result.NodeNames
		}
	}
	return true
}

// filter asks the filters about the next pod of a member on a node; nil means that they accept it, or that they failed.
func (s *snapshot) filter(m *member, node int) *refusal {
	status := s.filters.RunFilterPlugins(s.ctx, m.state, m.pod, s.infos[node])
	switch {
	case status.IsSuccess():
		return nil
	case !status.IsRejected():
		s.err = fmt.Errorf("rehearse %s on node %s: %w", m.Name, s.name(node), status.AsError())
		return nil
	}
	return &refusal{status.Plugin(), status.Message()}
}

// added lets a member's cycle know of a pod that has been placed, or ends that cycle if it cannot: the framework tells only
// plugins that PreFilter did not skip, and the pod may be why one would not be skipped any more. PodTopologySpread keeps
// count of pods that come to one node, and of those that come to several it may think that numbers are more level than
// they are: it then accepts too much and never refuses too much, and confirm asks it anew.
func (s *snapshot) added(m, came *member, info fwk.PodInfo, node int) {
	m.rejected = nil
	if m.state == nil {
		return
	}
	skipped := m.state.GetSkipFilterPlugins()
	first := came.count-came.left == 1 // a claim that does not keep the second from the first keeps none
	if skipped.Has(affinityPlugin) && len(came.rules.antiAffinity) > 0 || skipped.Has(restrictionsPlugin) && came.rules.claims && first {
		m.state = nil
		return
	}
	if status := s.filters.RunPreFilterExtensionAddPod(s.ctx, m.state, m.pod, info, s.infos[node]); !status.IsSuccess() {
		s.err = fmt.Errorf("rehearse %s: %w", m.Name, status.AsError())
	}
}

// removed lets a member's cycle know of a pod that is about to be taken off its node, and tells whether that went well.
func (s *snapshot) removed(m *member, info fwk.PodInfo, node int) bool {
	if status := s.filters.RunPreFilterExtensionRemovePod(s.ctx, m.state, m.pod, info, s.infos[node]); !status.IsSuccess() {
		s.err = fmt.Errorf("rehearse %s: %w", m.Name, status.AsError())
	}
	return s.err == nil
}
