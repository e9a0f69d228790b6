package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// version of the schema. A database with another is refused: see Open.
const version = 1

// ErrVersion is returned when a database was made by another version of this package.
var ErrVersion = errors.New("the database has another schema")

// schema is understood by SQLite and PostgreSQL alike. Times are ms since 1970 in UTC, 0 where nothing is known yet.
var schema = []string{
	// epoch: where the sums begin. horizon: how far they go. heartbeat: until when the meter knew what is alive. purged: spans that
	// ended before are no longer kept. schema: version.
	`CREATE TABLE IF NOT EXISTS state(name TEXT PRIMARY KEY, value BIGINT NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS application(
		app_key TEXT PRIMARY KEY, described_rank INTEGER NOT NULL, described_ms BIGINT NOT NULL,
		namespace TEXT NOT NULL, name TEXT NOT NULL, app_id TEXT NOT NULL, kind TEXT NOT NULL, owner_name TEXT NOT NULL,
		queue TEXT NOT NULL, priority BIGINT NOT NULL, user_name TEXT NOT NULL, identity_source TEXT NOT NULL,
		submitted_ms BIGINT NOT NULL, bound_ms BIGINT NOT NULL,
		end_ms BIGINT NOT NULL, end_rank INTEGER NOT NULL, uncertainty_ms BIGINT NOT NULL, result TEXT NOT NULL,
		reason_ms BIGINT NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL)`,
	`CREATE INDEX IF NOT EXISTS application_submitted ON application(submitted_ms)`,
	`CREATE INDEX IF NOT EXISTS application_namespace ON application(namespace, submitted_ms)`,
	`CREATE INDEX IF NOT EXISTS application_waiting ON application(app_key) WHERE end_rank = 0 AND bound_ms = 0`,
	`CREATE TABLE IF NOT EXISTS wait(
		app_key TEXT NOT NULL, at_ms BIGINT NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL, PRIMARY KEY(app_key, at_ms, reason))`,
	`CREATE TABLE IF NOT EXISTS span(
		uid TEXT PRIMARY KEY, kind TEXT NOT NULL, described_rank INTEGER NOT NULL, described_ms BIGINT NOT NULL,
		app_key TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, role TEXT NOT NULL, node TEXT NOT NULL, class TEXT NOT NULL,
		queue TEXT NOT NULL, user_name TEXT NOT NULL, identity_source TEXT NOT NULL,
		start_ms BIGINT NOT NULL, start_rank INTEGER NOT NULL,
		end_ms BIGINT NOT NULL, end_rank INTEGER NOT NULL, uncertainty_ms BIGINT NOT NULL, reason TEXT NOT NULL,
		alive_ms BIGINT NOT NULL, is_open INTEGER NOT NULL, lost INTEGER NOT NULL)`,
	`CREATE INDEX IF NOT EXISTS span_application ON span(app_key)`,
	`CREATE INDEX IF NOT EXISTS span_ended ON span(end_ms)`,
	`CREATE INDEX IF NOT EXISTS span_open ON span(kind) WHERE is_open = 1`,
	`CREATE TABLE IF NOT EXISTS segment(
		uid TEXT NOT NULL, seq BIGINT NOT NULL, since_ms BIGINT NOT NULL, cpu_milli BIGINT NOT NULL, memory_mib BIGINT NOT NULL,
		others TEXT NOT NULL, PRIMARY KEY(uid, seq))`,
	usageTable("usage_hour"),
	usageTable("usage_day"),
}

func usageTable(name string) string {
	return `CREATE TABLE IF NOT EXISTS ` + name + `(
		at_ms BIGINT NOT NULL, namespace TEXT NOT NULL, queue TEXT NOT NULL, user_name TEXT NOT NULL, class TEXT NOT NULL, resource TEXT NOT NULL,
		used BIGINT NOT NULL, lost BIGINT NOT NULL, capacity BIGINT NOT NULL, PRIMARY KEY(at_ms, namespace, queue, user_name, class, resource))`
}

// numbers in the table state.
const (
	stateSchema    = "schema"
	stateEpoch     = "epoch"
	stateHorizon   = "horizon"
	stateHeartbeat = "heartbeat"
	statePurged    = "purged"
)

// prepare makes what is missing. Sums of a new database begin with the hour of now.
func (s *Store) prepare(ctx context.Context, now int64) error {
	return s.write(ctx, func(tx *transaction) error {
		for _, statement := range schema {
			tx.exec(statement)
		}
		switch found := tx.state(stateSchema); {
		case tx.err != nil:
			return tx.err
		case found == 0:
			epoch := floor(now, Hour)
			tx.setState(stateSchema, version)
			tx.setState(stateEpoch, epoch)
			tx.setState(stateHorizon, epoch)
		case found != version:
			return fmt.Errorf("%w: version %d, and this program reads %d", ErrVersion, found, version)
		}
		return tx.err
	})
}

// transaction is one that remembers its first error, after which it does nothing more.
type transaction struct {
	ctx  context.Context
	tx   *sql.Tx
	bind func(string) string
	err  error
}

func (t *transaction) exec(query string, arguments ...any) {
	if t.err == nil {
		if _, err := t.tx.ExecContext(t.ctx, t.bind(query), arguments...); err != nil {
			t.err = fmt.Errorf("%s: %w", verb(query), err)
		}
	}
}

// query calls scan for every row.
func (t *transaction) query(scan func(*sql.Rows) error, query string, arguments ...any) {
	if t.err != nil {
		return
	}
	rows, err := t.tx.QueryContext(t.ctx, t.bind(query), arguments...)
	if err != nil {
		t.err = fmt.Errorf("%s: %w", verb(query), err)
		return
	}
	t.err = each(rows, scan)
}

func (t *transaction) state(name string) (value int64) {
	t.query(func(rows *sql.Rows) error { return rows.Scan(&value) }, `SELECT value FROM state WHERE name = ?`, name)
	return value
}

func (t *transaction) setState(name string, value int64) {
	t.exec(`INSERT INTO state(name, value) VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value`, name, value)
}

// each reads all rows and closes them.
func each(rows *sql.Rows, scan func(*sql.Rows) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
