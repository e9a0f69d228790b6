// Package audit is what an API server records of the requests of one account, and what of that its rights were needed for.
package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// Log is a file that an API server writes.
type Log struct{ Policy, File string }

// annotations of an event by which the API server says whether the account may do that.
const (
	decision = "authorization.k8s.io/decision"
	reason   = "authorization.k8s.io/reason"
)

// New writes a policy by which nothing but the requests of one account is recorded, without what is in them.
func New(dir, account string) (Log, error) {
	log := Log{Policy: filepath.Join(dir, "policy.yaml"), File: filepath.Join(dir, "audit.log")}
	policy := fmt.Sprintf(`apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  users: [%q]
- level: None
`, account)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Log{}, fmt.Errorf("audit: %w", err)
	}
	if err := os.WriteFile(log.Policy, []byte(policy), 0o644); err != nil {
		return Log{}, fmt.Errorf("audit: %w", err)
	}
	return log, nil
}

// Arguments are those of kube-apiserver.
func (l Log) Arguments() []string {
	// Blocking, so that what was answered is in the file, whatever becomes of the API server.
	return []string{"--audit-policy-file=" + l.Policy, "--audit-log-path=" + l.File, "--audit-log-mode=blocking"}
}

// Right is what a rule of a role grants once: a verb on a resource, with its subresource as in pods/status.
type Right struct{ Verb, Group, Resource string }

func (r Right) String() string {
	if r.Group == "" {
		return r.Verb + " " + r.Resource
	}
	return r.Verb + " " + r.Resource + "." + r.Group
}

// Record is what was asked for.
type Record struct {
	// Used: right -> a request that had it by one of the account's own bindings. What everybody may do who is authenticated is left out.
	Used map[Right]string
	// Refused are the requests that the account had no right to.
	Refused []string
}

// Read adds what a log holds.
func (r *Record) Read(log Log, ours func(binding string) bool) error {
	file, err := os.Open(log.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing has been asked for
	}
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	defer file.Close()
	return r.read(file, ours)
}

func (r *Record) read(from io.Reader, ours func(reason string) bool) error {
	if r.Used == nil {
		r.Used = map[Right]string{}
	}
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) { // half a line is of an API server that was killed
			return nil
		}
		if err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		var event auditv1.Event
		if err := json.Unmarshal(line, &event); err != nil {
			return fmt.Errorf("audit: %w: %s", err, line)
		}
		r.add(&event, ours)
	}
}

func (r *Record) add(event *auditv1.Event, ours func(reason string) bool) {
	request := event.Verb + " " + event.RequestURI
	switch {
	case event.Annotations[decision] == "forbid":
		r.Refused = append(r.Refused, request)
	case event.ObjectRef == nil || !ours(event.Annotations[reason]):
	default:
		r.Used[Right{event.Verb, event.ObjectRef.APIGroup, path.Join(event.ObjectRef.Resource, event.ObjectRef.Subresource)}] = request
	}
}
