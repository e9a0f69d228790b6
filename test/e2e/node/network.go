package node

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
)

// connect makes the node's network namespace and its route to and from the router.
func (n *Node) connect(ctx context.Context) error {
	port := "to-" + n.Name
	address := netip.PrefixFrom(n.Address, n.Gateway.Bits())
	if err := commands(ctx,
		"ip netns add "+n.Name,
		"ip link add "+port+" type veth peer name eth0 netns "+n.Name,
		"ip link set "+port+" master "+bridge+" up",
		"ip -n "+n.Name+" link set lo up",
		"ip -n "+n.Name+" addr add "+address.String()+" dev eth0",
		"ip -n "+n.Name+" link set eth0 up",
		"ip -n "+n.Name+" route add default via "+n.Gateway.Addr().String(),
		"ip route add "+n.Pods.String()+" via "+n.Address.String(),
	); err != nil {
		return err
	}
	// /proc/sys/net shows the namespace of the process that opens it.
	return n.command(ctx, "tee", "/proc/sys/net/ipv4/ip_forward").withInput("1").run()
}

func commands(ctx context.Context, lines ...string) error {
	for _, line := range lines {
		words := strings.Fields(line)
		if err := (&command{exec.CommandContext(ctx, words[0], words[1:]...)}).run(); err != nil {
			return err
		}
	}
	return nil
}

// command prepares a program in the network namespace of the node. `ip netns exec` would mount /sys anew and so hide
// the control groups.
func (n *Node) command(ctx context.Context, program string, arguments ...string) *command {
	words := append([]string{"--net=" + filepath.Join("/run/netns", n.Name), program}, arguments...)
	return &command{exec.CommandContext(ctx, "nsenter", words...)}
}

type command struct{ *exec.Cmd }

func (c *command) withInput(input string) *command {
	c.Stdin = strings.NewReader(input)
	return c
}

// run returns an error that holds what the program said.
func (c *command) run() error {
	if output, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(c.Args, " "), err, strings.TrimSpace(string(output)))
	}
	return nil
}
