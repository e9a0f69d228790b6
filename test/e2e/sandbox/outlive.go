package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/util/wait"
)

const cgroupRoot = "/sys/fs/cgroup"

// prepare makes what outlives the namespaces.
func prepare(config Config) error {
	if err := os.MkdirAll(config.Dir, 0o755); err != nil {
		return err
	}
	if err := MakeCgroup(config.Cgroup); err != nil {
		return err
	}
	if err := weigh(config.Cgroup); err != nil {
		return err
	}
	return MakeCgroup(filepath.Join(config.Cgroup, ownCgroup))
}

// ownCgroup is below Config.Cgroup and holds every process of the box that no container engine puts elsewhere.
const ownCgroup = "own"

// enterCgroup moves this process there; those it starts follow.
func enterCgroup(config Config) error {
	for _, hierarchy := range hierarchies() {
		procs := filepath.Join(hierarchy, config.Cgroup, ownCgroup, "cgroup.procs")
		if err := os.WriteFile(procs, []byte("0"), 0o644); err != nil { // 0 is whoever writes
			return fmt.Errorf("enter the control group: %w", err)
		}
	}
	return nil
}

// weigh gives all that runs in the box the processor time of eight ordinary processes. Without that, on a busy machine,
// all containers together would get as much as one compiler.
func weigh(name string) error {
	for _, hierarchy := range hierarchies() {
		for file, weight := range map[string]string{"cpu.shares": "8192", "cpu.weight": "800"} { // version 1, version 2
			path := filepath.Join(hierarchy, name, file)
			if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err := os.WriteFile(path, []byte(weight), 0o644); err != nil {
				return fmt.Errorf("control group: %w", err)
			}
		}
	}
	return nil
}

// hierarchies are the folders under which control groups can be made: one with version 2; several with version 1, and
// next to them maybe one of version 2 without controllers.
func hierarchies() []string {
	if version2(cgroupRoot) {
		return []string{cgroupRoot}
	}
	found, _ := filepath.Glob(filepath.Join(cgroupRoot, "*", "cgroup.procs")) // the pattern is well formed
	for i, procs := range found {
		found[i] = filepath.Dir(procs)
	}
	return slices.DeleteFunc(found, func(folder string) bool {
		info, err := os.Lstat(folder)
		return err != nil || info.Mode()&fs.ModeSymlink != 0 // such as cpu, a link to cpu,cpuacct
	})
}

func version2(hierarchy string) bool {
	_, err := os.Stat(filepath.Join(hierarchy, "cgroup.controllers"))
	return err == nil
}

// MakeCgroup makes a control group in every hierarchy, ready to hold others. Name is relative to the root; its parent exists.
func MakeCgroup(name string) error {
	for _, hierarchy := range hierarchies() {
		folder := filepath.Join(hierarchy, name)
		if err := os.Mkdir(folder, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("control group: %w", err)
		}
		setUp := inheritCPUs
		if version2(hierarchy) {
			setUp = delegate
		}
		if err := setUp(filepath.Dir(folder), folder); err != nil {
			return fmt.Errorf("control group %s: %w", folder, err)
		}
	}
	return nil
}

// inheritCPUs is for version 1, where a new cpuset allows no processor and no memory node until told.
func inheritCPUs(parent, folder string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue // the hierarchy of another controller
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, file), value, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// delegate is for version 2, where a controller works in a group only when the group above passes it on.
func delegate(parent, folder string) error {
	available, err := os.ReadFile(filepath.Join(parent, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, controller := range []string{"cpu", "cpuset", "io", "memory", "pids"} { // what a kubelet uses
		if !slices.Contains(strings.Fields(string(available)), controller) {
			continue
		}
		if err := os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+"+controller), 0o644); err != nil {
			return fmt.Errorf("pass controller %s on to %s: %w", controller, folder, err)
		}
	}
	return nil
}

// clean removes what outlives the namespaces. The box must be gone.
func clean(config Config) error {
	var errs []error
	for _, hierarchy := range hierarchies() {
		errs = append(errs, removeCgroups(filepath.Join(hierarchy, config.Cgroup)))
	}
	return errors.Join(append(errs, os.RemoveAll(config.Dir))...)
}

const (
	cgroupPatience = 10 * time.Second // a killed process leaves its group only when the kernel is done with it
	cgroupInterval = 20 * time.Millisecond
)

func removeCgroups(top string) error {
	var folders []string
	err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			folders = append(folders, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("control groups: %w", err)
	}
	for _, folder := range slices.Backward(folders) { // children come after their parents
		err := wait.PollUntilContextTimeout(context.Background(), cgroupInterval, cgroupPatience, true, func(context.Context) (bool, error) {
			err := unix.Rmdir(folder)
			if errors.Is(err, unix.EBUSY) {
				return false, nil
			}
			return true, err
		})
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("control group %s: %w", folder, err)
		}
	}
	return nil
}
