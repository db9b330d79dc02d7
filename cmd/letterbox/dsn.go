package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// source is the connection string. It may be empty where the variables of libpq say enough.
func (t *tool) source() (string, error) {
	if t.dsn != "" {
		return t.dsn, nil
	}
	if dsn := os.Getenv("DATABASE_URL"); dsn != "" {
		return dsn, nil
	}
	for _, name := range []string{"PGHOST", "PGSERVICE", "PGDATABASE"} {
		if os.Getenv(name) != "" {
			return "", nil
		}
	}
	return "", usagef("which database? Give --dsn, or set DATABASE_URL")
}

// unreadable says what is wrong with a DSN and quotes nothing of it: one that cannot be parsed is one where nobody knows
// which part the password is, and pgx does no more than guess.
func unreadable(err error) error {
	text := "the DSN cannot be read"
	if parse, ok := errors.AsType[*pgconn.ParseConfigError](err); ok {
		if what := stage(parse); what != "" {
			text += ": " + what
		}
	}
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		text += fmt.Sprintf(" (%s %s: %v)", file.Op, file.Path, file.Err)
	}
	return errors.New(text + ". It is a URL, postgres://user:password@host:5432/database?sslmode=require, in which / ? # @ : and " +
		"% of a password are written as %2F %3F %23 %40 %3A and %25, or pairs, host=... user=... password='...' dbname=...")
}

// stage is where pgx gave up, in its fixed words: what stands between the DSN and the cause.
func stage(err *pgconn.ParseConfigError) string {
	text := err.Error()
	if cause := err.Unwrap(); cause != nil {
		text = strings.TrimSuffix(text, " ("+cause.Error()+")")
	}
	_, what, found := cutLast(text, "`: ")
	if !found || strings.ContainsAny(what, "@=/`'\"") {
		return ""
	}
	return what
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
