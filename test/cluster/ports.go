package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// portFree is nil when the port can be listened on, and says who has it when it cannot.
func portFree(address string, port int) error {
	listener, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err == nil {
		return listener.Close()
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return &PortTakenError{Address: address, Port: port, Owner: portOwner(port)}
	}
	return fmt.Errorf("cannot listen on %s port %d: %w", address, port, err)
}

// PortTakenError is returned when a port the cluster needs belongs to somebody else.
type PortTakenError struct {
	Component Component // that needs the port
	Address   string
	Port      int
	Owner     string // "pid 1234 (name)"; empty when this user may not see it
}

func (e *PortTakenError) Error() string {
	owner := e.Owner
	if owner == "" {
		owner = "another process"
	}
	return fmt.Sprintf("port %d on %s, needed by %s, is taken by %s: stop that process or choose another range of %d ports"+
		" (PortBase; `make cluster-up CLUSTER_PORT=…`)", e.Port, e.Address, e.Component, owner, portCount)
}

// portOwner looks through /proc for the process that listens on the port; empty when it cannot be found.
func portOwner(port int) string {
	inode := listeningInode("/proc/net/tcp", port)
	if inode == "" {
		inode = listeningInode("/proc/net/tcp6", port)
	}
	if inode == "" {
		return ""
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return ""
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err != nil || target != "socket:["+inode+"]" {
			continue
		}
		pid := strings.Split(link, "/")[2]
		name, err := os.ReadFile("/proc/" + pid + "/comm")
		if err != nil {
			continue
		}
		return fmt.Sprintf("pid %s (%s)", pid, strings.TrimSpace(string(name)))
	}
	return ""
}

// listeningInode finds the socket that listens on the port in a table such as /proc/net/tcp.
func listeningInode(table string, port int) string {
	content, err := os.ReadFile(table)
	if err != nil {
		return ""
	}
	const localField, stateField, inodeField, stateListen = 1, 3, 9, "0A"
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		if len(fields) > inodeField && fields[stateField] == stateListen && strings.HasSuffix(fields[localField], fmt.Sprintf(":%04X", port)) {
			return fields[inodeField]
		}
	}
	return ""
}

// Free ports are looked for below the range the kernel takes source ports from (32768 and up), so that an outgoing
// connection does not take one of them while its component restarts.
const (
	freePortsFrom = 20000
	freePortsTo   = 32700
	freeAttempts  = 100
)

// freePorts finds a base for one cluster. Two processes asking at once choose differently, as the start is random.
func freePorts(address string) (int, error) {
	for range freeAttempts {
		base := freePortsFrom + portCount*rand.IntN((freePortsTo-freePortsFrom)/portCount)
		free := true
		for offset := range portCount {
			free = free && portFree(address, base+offset) == nil &&
				portFree("127.0.0.1", base+offset) == nil
		}
		if free {
			return base, nil
		}
	}
	return 0, fmt.Errorf("no %d consecutive free ports found between %d and %d in %d attempts", portCount, freePortsFrom, freePortsTo, freeAttempts)
}
