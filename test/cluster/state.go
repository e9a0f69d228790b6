package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// state is the file that lets another process find and stop the cluster.
type state struct {
	Config Config `json:"config"`
	// BootID of the machine when the processes were started; another one means that none of them lives.
	BootID string `json:"bootID"`
	// Processes: component -> what was started for it. A component that was stopped has none.
	Processes map[Component]started `json:"processes"`
}

// started is a process and what it was started from.
type started struct {
	process
	// Fingerprint changes with the binary, its arguments and its configuration: a different one means that it runs
	// something outdated.
	Fingerprint string `json:"fingerprint"`
}

func stateFile(dir string) string { return filepath.Join(dir, "state.json") }

// readState returns fs.ErrNotExist, wrapped, when dir holds no cluster.
func readState(dir string) (state, error) {
	content, err := os.ReadFile(stateFile(dir))
	if err != nil {
		return state{}, fmt.Errorf("cluster: %w", err)
	}
	var s state
	if err := json.Unmarshal(content, &s); err != nil {
		return state{}, fmt.Errorf("cluster: %s: %w", stateFile(dir), err)
	}
	boot, err := bootID()
	if err != nil {
		return state{}, err
	}
	if s.BootID != boot || s.Processes == nil {
		s.BootID, s.Processes = boot, map[Component]started{}
	}
	return s, nil
}

// write replaces the file in one step: a reader sees the old state or the new one.
func (s *state) write() error {
	content, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("cluster: encode the state: %w", err)
	}
	path := stateFile(s.Config.Dir)
	if err := os.WriteFile(path+".new", append(content, '\n'), 0o644); err != nil {
		return fmt.Errorf("cluster: write the state: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("cluster: write the state: %w", err)
	}
	return nil
}

// anyAlive tells whether anything of the cluster still runs.
func (s *state) anyAlive() bool {
	for _, p := range s.Processes {
		if p.alive() {
			return true
		}
	}
	return false
}

// ownedPaths are the files and directories of a cluster inside its directory, without the logs.
var ownedPaths = []string{"state.json", "state.json.new", "pki", "kubeconfigs", "etcd", "scheduler", "kwok", "kubectl"}

const logsDir = "logs"

// clean removes what a cluster wrote, and nothing else that may lie in its directory.
func clean(dir string, paths ...string) error {
	var errs []error
	for _, path := range paths {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, path)))
	}
	return errors.Join(errs...)
}

// lockDir keeps two programs from changing one cluster at the same time. The lock ends with the returned file.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("cluster: %s is being started or stopped by another process right now: try again when it is done", dir)
		}
		return nil, fmt.Errorf("cluster: lock %s: %w", dir, err)
	}
	return file, nil
}

func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
