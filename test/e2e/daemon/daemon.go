// Package daemon is a program that runs until the sandbox around it ends; its early end is an error somebody must ask for.
package daemon

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Daemon is a program that was started.
type Daemon struct {
	name  string
	log   string        // path
	ended chan struct{} // closed when the program has ended
	err   error         // how it ended; to be read after ended is closed
}

// Start starts a program and sends its output to a log file, of which the name says what it is.
func Start(log string, cmd *exec.Cmd) (*Daemon, error) {
	d := &Daemon{name: filepath.Base(log), log: log, ended: make(chan struct{})}
	file, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	// The goroutine ends with the program.
	go func() {
		d.err = cmd.Wait()
		close(d.ended)
	}()
	return d, nil
}

// tailBytes of a log go into an error.
const tailBytes = 2000

// Err is nil as long as the program runs. After its end it holds the end of the log.
func (d *Daemon) Err() error {
	select {
	case <-d.ended:
		content, _ := os.ReadFile(d.log) // without the log the error still says what happened
		tail := content[max(0, len(content)-tailBytes):]
		return fmt.Errorf("a program that must go on running ended (%v); the end of %s:\n%s", d.err, d.log, bytes.TrimSpace(tail))
	default:
		return nil
	}
}
