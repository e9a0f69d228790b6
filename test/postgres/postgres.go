// Package postgres is a real PostgreSQL for tests, from Debian's package, on a socket that nobody else sees.
package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// required is the variable that makes tests fail where there is no PostgreSQL, instead of leaving out that half.
const required = "RETINUE_REQUIRE_POSTGRES"

// server is one that runs, or why there is none.
type server struct {
	directory string
	command   *exec.Cmd
	stderr    bytes.Buffer
	missing   error
	databases int
}

// running is this process's; nil before the first test that wants one.
var running *server

// Stop ends the server, if one runs. A package that calls Database calls it after its tests.
func Stop() {
	if running == nil || running.command == nil {
		return
	}
	_ = running.command.Process.Signal(syscall.SIGQUIT)
	_ = running.command.Wait()
	_ = os.RemoveAll(running.directory)
	running = nil
}

// Database is the source of a new, empty database. The test is skipped where PostgreSQL is not installed.
func Database(t testing.TB) string {
	t.Helper()
	if running == nil {
		running = start()
	}
	if running.missing != nil {
		if os.Getenv(required) != "" {
			t.Fatal(running.missing)
		}
		t.Skip(running.missing)
	}
	running.databases++
	name := fmt.Sprintf("test%d", running.databases)
	if err := running.create(context.Background(), name); err != nil {
		t.Fatal(err)
	}
	return running.source(name)
}

func (s *server) source(name string) string {
	return "postgres://retinue@/" + name + "?host=" + s.directory
}

func (s *server) create(ctx context.Context, name string) error {
	connection, err := pgx.Connect(ctx, s.source("postgres"))
	if err != nil {
		return err
	}
	_, err = connection.Exec(ctx, "CREATE DATABASE "+name)
	return errors.Join(err, connection.Close(ctx))
}

// patience is how long a server may take to answer.
const patience = 2 * time.Minute

// start makes a server that listens on a socket in a directory of its own. It refuses to run as root, and so it does not.
func start() *server {
	s := &server{}
	programs, err := programs()
	if err != nil {
		s.missing = err
		return s
	}
	if s.missing = s.run(programs); s.missing != nil {
		s.missing = fmt.Errorf("PostgreSQL does not start: %w\n%s", s.missing, s.stderr.String())
	}
	return s
}

func (s *server) run(programs string) error {
	directory, err := os.MkdirTemp("", "postgres")
	if err != nil {
		return err
	}
	s.directory = directory
	attributes := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Geteuid() == 0 {
		nobody, err := user.Lookup("nobody")
		if err != nil {
			return err
		}
		uid, _ := strconv.Atoi(nobody.Uid)
		gid, _ := strconv.Atoi(nobody.Gid)
		attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(directory, uid, gid); err != nil {
			return err
		}
	}
	data := filepath.Join(directory, "data")
	initialise := exec.Command(filepath.Join(programs, "initdb"), "--pgdata="+data, "--username=retinue", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
	initialise.SysProcAttr, initialise.Dir, initialise.Stderr = attributes, directory, &s.stderr
	if err := initialise.Run(); err != nil {
		return err
	}
	command := exec.Command(filepath.Join(programs, "postgres"), "-D", data, "-k", directory, "-c", "listen_addresses=", "-c", "fsync=off")
	command.SysProcAttr, command.Dir, command.Stderr = attributes, directory, &s.stderr
	if err := command.Start(); err != nil {
		return err
	}
	s.command = command
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		connection, err := pgx.Connect(ctx, s.source("postgres"))
		if err == nil {
			return connection.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}

// programs is where initdb and postgres are: Debian keeps those of every version apart.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		return "", errors.New("PostgreSQL is not installed: this half is tested by make history-test, which installs Debian's package postgresql")
	}
	return filepath.Dir(found[len(found)-1]), nil
}
