package postgres

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// fillUpkeep makes the statement for either table.
func fillUpkeep(fill func(string) string) (outbox, dead string) {
	outbox = strings.ReplaceAll(upkeepSQL, "{table}", "{outbox_regclass}")
	dead = strings.ReplaceAll(upkeepSQL, "{table}", "{dlq_regclass}")
	return fill(outbox), fill(dead)
}

// upkeepSQL reads what PostgreSQL knows of a table. It reads none of its rows, and
// asks the file system for the sizes.
var upkeepSQL = `
SELECT ` + micros("statement_timestamp()") + `, pg_stat_get_live_tuples(c.oid), pg_stat_get_dead_tuples(c.oid),
       pg_table_size(c.oid), pg_indexes_size(c.oid), age(c.relfrozenxid),
       ` + micros("pg_stat_get_last_vacuum_time(c.oid)") + `, ` + micros("pg_stat_get_last_autovacuum_time(c.oid)") + `,
       ` + micros("pg_stat_get_last_analyze_time(c.oid)") + `, ` + micros("pg_stat_get_last_autoanalyze_time(c.oid)") + `,
       current_setting('autovacuum')::bool AND COALESCE((
         SELECT s.option_value::bool FROM pg_options_to_table(c.reloptions) AS s WHERE s.option_name = 'autovacuum_enabled'), true)
FROM pg_class AS c
WHERE c.oid = to_regclass({table})`

// Upkeep is the state of a table.
type Upkeep struct {
	Live, Dead                                     int64
	TableBytes, IndexBytes                         int64
	FrozenAge                                      int64
	Vacuumed, Autovacuumed, Analyzed, Autoanalyzed time.Time
	Autovacuum                                     bool
}

// Upkeep looks at the outbox, or at the dead letters; false: there is no such table.
func (t *Table) Upkeep(ctx context.Context, db Rower, dead bool) (u Upkeep, at time.Time, ok bool, err error) {
	query := t.sql.stats.upkeep
	if dead {
		query = t.sql.stats.upkeepDead
	}
	var clock, vacuum, autovacuum, analyze, autoanalyze *int64
	err = db.QueryRow(ctx, query).Scan(&clock, &u.Live, &u.Dead, &u.TableBytes, &u.IndexBytes, &u.FrozenAge,
		&vacuum, &autovacuum, &analyze, &autoanalyze, &u.Autovacuum)
	if errors.Is(err, sql.ErrNoRows) {
		return u, at, false, nil
	}
	u.Vacuumed, u.Autovacuumed = fromMicros(vacuum), fromMicros(autovacuum)
	u.Analyzed, u.Autoanalyzed = fromMicros(analyze), fromMicros(autoanalyze)
	return u, fromMicros(clock), err == nil, err
}

// holdersSQL finds what keeps vacuum from removing dead rows of this database's
// tables: a snapshot or a transaction id that is in use, of a session of this
// database, or of none (a standby's feedback), of a slot, of a prepared
// transaction. Not among them are sessions that vacuum, which vacuum itself passes
// over, parallel workers, whose leader is there, and the session that asks. A slot's
// catalog_xmin holds back the system catalogs alone.
//
// PostgreSQL shows a session's snapshot to its own role, and to those that have
// pg_read_all_stats; of the others it shows that they are there.
var holdersSQL = `
WITH session AS (
  SELECT a.* FROM pg_stat_activity AS a
  WHERE (a.datname = current_database() OR a.datname IS NULL) AND a.pid <> pg_backend_pid()
), holder AS (
  SELECT CASE a.backend_type WHEN 'walsender' THEN 'standby' ELSE 'session' END AS kind, '' AS name,
         a.pid, a.usename::text AS owner, a.application_name AS application, a.state, a.xact_start AS since,
         GREATEST(age(a.backend_xmin), age(a.backend_xid), 0) AS age
  FROM session AS a
  WHERE (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL) AND a.backend_type <> 'parallel worker'
    AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum AS v WHERE v.pid = a.pid)
  UNION ALL
  SELECT 'slot', s.slot_name::text, s.active_pid, NULL, NULL, CASE WHEN s.active THEN 'active' ELSE 'inactive' END, NULL,
         GREATEST(age(s.xmin), 0)
  FROM pg_replication_slots AS s WHERE s.xmin IS NOT NULL
  UNION ALL
  SELECT 'prepared', p.gid, NULL, p.owner::text, NULL, NULL, p.prepared, GREATEST(age(p.transaction), 0)
  FROM pg_prepared_xacts AS p WHERE p.database = current_database()
), worst AS (
  SELECT * FROM holder AS h ORDER BY h.age DESC, h.since LIMIT $1::int
)
SELECT (SELECT json_agg(json_build_array(w.kind, w.name, w.pid, w.owner, w.application, w.state,
          extract(epoch FROM statement_timestamp() - w.since), w.age) ORDER BY w.age DESC, w.since)::text FROM worst AS w),
       (SELECT count(*) FROM session AS a WHERE a.backend_type IS NULL AND (a.datname IS NOT NULL OR a.usesysid IS NOT NULL))`

// Holder is somebody who holds vacuum back.
type Holder struct {
	Kind, Name, User, Application, State string
	PID                                  int32
	Open                                 time.Duration
	Age                                  int64
}

// Holders returns up to limit of them, the oldest first, and how many sessions the
// role may not look into.
func (t *Table) Holders(ctx context.Context, db Rower, limit int) (list []Holder, hidden int, err error) {
	var raw *string
	if err := db.QueryRow(ctx, holdersSQL, limit).Scan(&raw, &hidden); err != nil || raw == nil {
		return nil, hidden, err
	}
	var rows []json.RawMessage
	if err := json.Unmarshal([]byte(*raw), &rows); err != nil {
		return nil, hidden, fmt.Errorf("read snapshots: %w", err)
	}
	list = make([]Holder, len(rows))
	for i := range rows {
		var open *float64
		h := &list[i]
		fields := []any{&h.Kind, &h.Name, &h.PID, &h.User, &h.Application, &h.State, &open, &h.Age}
		if err := json.Unmarshal(rows[i], &fields); err != nil {
			return nil, hidden, fmt.Errorf("read snapshots: %w", err)
		}
		if open != nil {
			h.Open = max(0, seconds(*open))
		}
	}
	return list, hidden, nil
}
