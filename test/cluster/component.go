package cluster

import "slices"

// Component is one process of the cluster.
type Component string

const (
	// Etcd stores the objects.
	Etcd Component = "etcd"
	// APIServer is kube-apiserver.
	APIServer Component = "kube-apiserver"
	// ControllerManager is kube-controller-manager: default service accounts, garbage collection, node lifecycle, Jobs.
	ControllerManager Component = "kube-controller-manager"
	// Kwok keeps fake nodes Ready and plays the kubelet for their pods.
	Kwok Component = "kwok"
	// Scheduler is Retinue.
	Scheduler Component = "scheduler"
	// StandbyScheduler is a second replica of Retinue. It is of use with Config.LeaderElection only.
	StandbyScheduler Component = "scheduler-standby"
	// DefaultScheduler is the unmodified kube-scheduler with its default profile.
	DefaultScheduler Component = "kube-scheduler"
)

// startOrder lists every component; each needs only those before it. Stopping goes the other way round.
var startOrder = []Component{Etcd, APIServer, ControllerManager, Kwok, Scheduler, StandbyScheduler, DefaultScheduler}

// portOffsets: component -> offset of its port from Config.PortBase. etcd's peer port is at etcdPeerOffset.
var portOffsets = map[Component]int{
	APIServer:         0,
	Etcd:              1,
	ControllerManager: 3,
	Kwok:              4,
	Scheduler:         5,
	StandbyScheduler:  6,
	DefaultScheduler:  7,
}

const (
	etcdPeerOffset = 2
	// portCount is how many consecutive ports one cluster uses at most.
	portCount = 8
)

// binaries: component -> file name in Config.Binaries.
var binaries = map[Component]string{
	Etcd:              "etcd",
	APIServer:         "kube-apiserver",
	ControllerManager: "kube-controller-manager",
	Kwok:              "kwok",
	Scheduler:         "scheduler",
	StandbyScheduler:  "scheduler",
	DefaultScheduler:  "kube-scheduler",
}

func (c Component) known() bool { return slices.Contains(startOrder, c) }

// isRetinue is true of the two Retinue processes, which share a service account and a configuration.
func (c Component) isRetinue() bool { return c == Scheduler || c == StandbyScheduler }
