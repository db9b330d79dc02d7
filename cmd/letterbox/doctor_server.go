package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/queue"
)

// connection looks at the server and its clock.
func (d *doctor) connection(ctx context.Context) error {
	var (
		version, role, database string
		backend                 uint32
		at                      time.Time
	)
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	began := time.Now()
	err = conn.QueryRow(ctx, `SELECT current_setting('server_version'), current_user::text, current_database()::text, pg_backend_pid(), clock_timestamp()`).
		Scan(&version, &role, &database, &backend, &at)
	if err != nil {
		return fmt.Errorf("look at the server: %w", err)
	}
	trip := time.Since(began)
	through := ""
	if d.pooled = conn.Conn().PgConn().PID() != backend; d.pooled {
		through = ", through a pooler"
	}
	d.add("connection", fine, "", "", "PostgreSQL %s, database %q as %q%s, %s for a round trip", version, database, role, through, span(trip))

	// The database looked at its clock at some time between the question and the answer.
	const much = time.Second
	off := at.Sub(began.Add(trip / 2))
	d.ahead = off
	switch least := max(0, off.Abs()-trip/2); {
	case least > much:
		d.add("clock", warning, "", "set this machine's clock, if it is the one that is wrong",
			"this machine's clock is %s %s the database's; nothing is late for it, but times in logs do not agree", span(least), sign(off, "behind", "before"))
	default:
		d.add("clock", fine, "", "", "no more than %s from the database's", span(off.Abs()+trip/2))
	}
	return nil
}

func sign(d time.Duration, positive, negative string) string {
	if d < 0 {
		return negative
	}
	return positive
}

// writes says whether the server takes writes. What else a ping can fail for, the checks of tables say.
func (d *doctor) writes(ctx context.Context) bool {
	err := d.outbox.Ping(ctx, d.pool)
	if errors.Is(err, queue.ErrReadOnly) {
		d.add("writes", problem, "", "connect to the primary: with target_session_attrs=read-write the DSN may name all servers",
			"the server takes no writes: it is a standby, or sessions here are read-only by default")
		return false
	}
	if err != nil && !errors.Is(err, queue.ErrNoTable) {
		d.add("writes", problem, "", "", "the outbox cannot be reached: %v", err)
		return true
	}
	if err == nil {
		d.add("writes", fine, "", "", "the outbox can be reached, and the server takes writes")
	}
	return true
}

// tables compares the tables, and says whether they are there.
func (d *doctor) tables(ctx context.Context) (there bool, err error) {
	found, err := d.differences(ctx, d.pool)
	if err != nil {
		return false, err
	}
	there = true
	for _, f := range found {
		there = there && (f.Part != queue.PartSchema && f.Part != queue.PartTable || !f.Missing)
		do := "see 'letterbox validate'"
		switch {
		case f.Missing && f.Part == queue.PartTable:
			do = "letterbox migrate up"
		case f.Mend != "" && !strings.Contains(f.Mend, "\n"):
			do = f.Mend
		}
		d.add("tables", problem, "", do, "%s; needs: %s", subject(f), f.Need)
	}
	warnings, err := d.outbox.Warnings(ctx, d.pool)
	if err != nil {
		return false, err
	}
	for _, w := range warnings {
		d.add("tables", warning, "", w.Mend, "%s has: %s; needs: %s", subject(w), w.Have, w.Need)
	}
	if len(found)+len(warnings) == 0 {
		d.add("tables", fine, "", "", "they are as needed")
	}
	return there, nil
}

// notifyWait is how long a notification may take: on a machine that is busy, they come late.
const notifyWait = 3 * time.Second

// notify sends a notification on one connection and waits for it on another. The channel is its own, so no worker wakes.
func (d *doctor) notify(ctx context.Context) error {
	config := d.pool.Config().ConnConfig
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("open a connection to listen on: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	channel := "letterbox_doctor_" + strings.ToLower(rand.Text()[:10])
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
		d.add("notify", warning, "", "", "LISTEN was refused: %v", err)
		return nil
	}
	defer conn.Exec(context.WithoutCancel(ctx), "UNLISTEN *") // behind a pooler, the session goes on
	began := time.Now()
	if _, err := d.pool.Exec(ctx, "SELECT pg_notify($1, '')", channel); err != nil {
		d.add("notify", warning, "", "", "NOTIFY was refused: %v", err)
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, notifyWait)
	defer cancel()
	_, err = conn.WaitForNotification(waiting)
	took := time.Since(began)
	switch {
	case err == nil && took < notifyWait/3:
		d.add("notify", fine, "", "", "a notification arrives after %s", span(took))
	case err == nil:
		d.add("notify", warning, "", "", "a notification took %s; workers start messages as late as that", span(took))
	case ctx.Err() != nil:
		return err
	default:
		why := "no notification arrived within " + span(notifyWait)
		if d.pooled {
			why += ": the pooler seems to give each transaction another session, as PgBouncer does in transaction mode"
		}
		d.add("notify", warning, "", "workers that connect like this should have queue.ListenOn with a direct connection, or queue.NoListen",
			"%s; workers that connect like this find messages by polling, within a second", why)
	}
	return nil
}

// What is worth a warning.
const (
	oldAge    = 1_000_000 // transactions
	manyDead  = 100_000   // rows
	nearlyOld = 1_000_000_000
)

// vacuum looks at what keeps dead rows.
func (d *doctor) vacuum(ctx context.Context) error {
	u, err := d.outbox.Upkeep(ctx, d.pool)
	if err != nil {
		return err
	}
	before := len(d.found)
	for _, t := range []struct {
		name string
		*queue.TableUpkeep
	}{{d.table.Names().Table, &u.Outbox}, {d.table.Names().DeadLetters, u.DeadLetters}} {
		if t.TableUpkeep == nil {
			continue
		}
		if !t.Autovacuum {
			d.add("vacuum", problem, "", "turn on autovacuum, and track_counts, on the server and for the table", "autovacuum is off for %s", t.name)
		}
		if t.DeadRows > manyDead && t.DeadRows > 2*t.LiveRows {
			d.add("vacuum", warning, "", "if nothing below holds it back, VACUUM the table", "%s has some %d dead rows and %d live ones: every claim reads past them",
				t.name, t.DeadRows, t.LiveRows)
		}
		if t.FrozenAge > nearlyOld {
			d.add("vacuum", problem, "", "VACUUM FREEZE the table", "%s is %d transactions old: at 2,000 million the server stops", t.name, t.FrozenAge)
		}
	}
	for _, h := range u.Holders {
		if h.Open >= d.heldFor || h.Age >= oldAge {
			d.add("vacuum", warning, "", release(h), "held back by %v", h)
		}
	}
	if len(d.found) == before {
		d.add("vacuum", fine, "", "", "nothing holds it back; about %d dead rows", u.Outbox.DeadRows)
	}
	if u.Hidden > 0 {
		d.add("vacuum", fine, "", "GRANT pg_read_all_stats to the role, to see them", "%d sessions of other roles cannot be looked at: any may hold it back", u.Hidden)
	}
	return nil
}

// release says how to end what holds vacuum back.
func release(h queue.Holder) string {
	switch h.Kind {
	case queue.HolderSession:
		return fmt.Sprintf("end its transaction, or: SELECT pg_terminate_backend(%d)", h.PID)
	case queue.HolderStandby:
		return "end the long query on the standby, or turn hot_standby_feedback off there"
	case queue.HolderSlot:
		return fmt.Sprintf("if nobody needs the slot any more: SELECT pg_drop_replication_slot(%s)", quoteText(h.Name))
	case queue.HolderPrepared:
		return fmt.Sprintf("COMMIT PREPARED or ROLLBACK PREPARED %s", quoteText(h.Name))
	}
	return cmp.Or(string(h.Kind), "see docs/stats.md")
}

func quoteText(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
