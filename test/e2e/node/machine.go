package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

const bridge = "nodes0"

// Prepare makes the machine ready for nodes, and this network namespace their router: gateway is its address and
// their range. Call it once, before the first Start.
func Prepare(ctx context.Context, gateway netip.Prefix) error {
	if err := commands(ctx,
		"ip link add "+bridge+" type bridge",
		"ip addr add "+gateway.String()+" dev "+bridge,
		"ip link set "+bridge+" up",
	); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return err
	}
	return keepKernelSettings()
}

// kernelSettings are what a kubelet sets for the whole machine: path -> the value it wants.
var kernelSettings = map[string]int{
	"/proc/sys/vm/overcommit_memory":      1,
	"/proc/sys/vm/panic_on_oom":           0,
	"/proc/sys/kernel/panic":              10,
	"/proc/sys/kernel/panic_on_oops":      1,
	"/proc/sys/kernel/keys/root_maxkeys":  1000000,
	"/proc/sys/kernel/keys/root_maxbytes": 25000000,
}

// keepKernelSettings keeps the machine as it is: in this mount namespace, files with the wanted values cover the
// settings, so the kubelet finds nothing to change.
func keepKernelSettings() error {
	for path, value := range kernelSettings {
		cover := filepath.Join("/run/kernel-settings", filepath.Base(path))
		err := errors.Join(
			os.MkdirAll(filepath.Dir(cover), 0o755),
			os.WriteFile(cover, []byte(strconv.Itoa(value)+"\n"), 0o644),
			unix.Mount(cover, path, "", unix.MS_BIND, ""),
		)
		if err != nil {
			return fmt.Errorf("cover %s: %w", path, err)
		}
	}
	return nil
}
