package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx
	_ "modernc.org/sqlite"             // the driver sqlite
)

// Store is the database: a file of SQLite, or PostgreSQL. Any number may read it and any number write; who writes has it alone for
// that transaction, so that what is merged is what is there.
type Store struct {
	writer, reader *sql.DB
	postgres       bool
}

// lockOfWriters is the advisory lock that all who write to PostgreSQL take: any number nobody else uses.
const lockOfWriters = 0x7265_7469_6e75_65

var (
	// ErrNetworkFile is returned when the file would lie on a network's file system, where SQLite's locks do not hold.
	ErrNetworkFile = errors.New("SQLite does not work on a network's file system")
	// ErrDamaged is returned when the file is no longer what was written.
	ErrDamaged = errors.New("the database is damaged")
)

// Open opens the database and makes its tables if it is new. source is a path, or postgres://USER:PASSWORD@HOST/NAME; now is when.
func Open(ctx context.Context, source string, now int64) (*Store, error) {
	open := openFile
	if strings.HasPrefix(source, "postgres://") || strings.HasPrefix(source, "postgresql://") {
		open = openPostgres
	}
	s, err := open(source)
	if err != nil {
		return nil, err
	}
	if !s.postgres {
		err = s.intact(ctx)
	}
	if err == nil {
		err = s.prepare(ctx, now)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func openPostgres(source string) (*Store, error) {
	db, err := sql.Open("pgx", source)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(8)
	return &Store{writer: db, reader: db, postgres: true}, nil
}

// openFile has one connection that writes, and others that read what was last committed.
func openFile(path string) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	switch remote, err := onNetwork(filepath.Dir(path)); {
	case err != nil:
		return nil, fmt.Errorf("the directory of %s: %w", path, err)
	case remote:
		return nil, fmt.Errorf("%s: %w", path, ErrNetworkFile)
	}
	if file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600); err != nil { // not readable for others, as SQLite would make it
		return nil, err
	} else if err := file.Close(); err != nil {
		return nil, err
	}
	source := func(settings ...string) string {
		settings = append(settings, "busy_timeout(10000)")
		return (&url.URL{Scheme: "file", Path: path, RawQuery: url.Values{"_pragma": settings, "_txlock": {"immediate"}}.Encode()}).String()
	}
	writer, err := sql.Open("sqlite", source("journal_mode(WAL)", "synchronous(FULL)"))
	if err != nil {
		return nil, err
	}
	writer.SetMaxOpenConns(1)
	reader, err := sql.Open("sqlite", source("query_only(1)"))
	if err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	reader.SetMaxOpenConns(4)
	return &Store{writer: writer, reader: reader}, nil
}

// intact asks SQLite whether the file is whole.
func (s *Store) intact(ctx context.Context) error {
	var verdict string
	if err := s.writer.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&verdict); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if verdict != "ok" {
		return fmt.Errorf("%w: %s", ErrDamaged, verdict)
	}
	return nil
}

// Close ends all connections.
func (s *Store) Close() error {
	if s.postgres {
		return s.writer.Close()
	}
	return errors.Join(s.reader.Close(), s.writer.Close())
}

// Backup writes a copy of a SQLite database to a new file; it is whole although others write meanwhile.
func (s *Store) Backup(ctx context.Context, path string) error {
	if s.postgres {
		return errors.New("PostgreSQL is backed up by its own means, such as pg_dump")
	}
	_, err := s.writer.ExecContext(ctx, `VACUUM INTO ?`, path)
	return err
}

// write runs f alone among all who write, and keeps what it did if it returns nil.
func (s *Store) write(ctx context.Context, f func(*transaction) error) error {
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to undo
	t := &transaction{ctx: ctx, tx: tx, bind: s.bind}
	if s.postgres {
		t.exec(`SELECT pg_advisory_xact_lock(?)`, int64(lockOfWriters))
	}
	if t.err != nil {
		return t.err
	}
	if err := f(t); err != nil {
		return err
	}
	return tx.Commit()
}

// rows reads outside of any transaction of a writer.
func (s *Store) rows(ctx context.Context, scan func(*sql.Rows) error, query string, arguments ...any) error {
	rows, err := s.reader.QueryContext(ctx, s.bind(query), arguments...)
	if err != nil {
		return fmt.Errorf("%s: %w", verb(query), err)
	}
	return each(rows, scan)
}

// bind writes the places of arguments as the database wants them: ? for SQLite, $1 for PostgreSQL. No text of a query holds a ?.
func (s *Store) bind(query string) string {
	if !s.postgres {
		return query
	}
	var text strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(query, "?")
		text.WriteString(before)
		if !found {
			return text.String()
		}
		text.WriteString("$" + strconv.Itoa(n))
		query = after
	}
}

// verb is the beginning of a query, for errors.
func verb(query string) string {
	words := strings.Fields(query)
	return strings.Join(words[:min(len(words), 3)], " ")
}

// places are n groups of so many places for arguments: (?, ?), (?, ?).
func places(n, arguments int) string {
	group := "(" + strings.TrimSuffix(strings.Repeat("?, ", arguments), ", ") + ")"
	return strings.TrimSuffix(strings.Repeat(group+", ", n), ", ")
}
