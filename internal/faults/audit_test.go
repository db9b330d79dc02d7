package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
)

// good is a small history in which everything is in order: message 1 is handled; 2 fails once, then its lease is lost
// during a run that succeeds, and it is handled again; 3 is dead; 4 is handled in a transaction; 5 in a held one; 6 in a
// transaction again after its claim was undone by a crash; 7 does not decode.
const good = `
INSERT INTO faults.published (key, id, queue, kind) VALUES
  (101, 1, 'faults.plain', 'ok'), (102, 2, 'faults.plain', 'fail, ok'), (103, 3, 'faults.plain', 'permanent'),
  (104, 4, 'faults.tx', 'ok'), (105, 5, 'faults.batch-tx', 'ok'), (106, 6, 'faults.tx', 'ok'), (107, 7, 'faults.plain', 'poison');
INSERT INTO faults.effect VALUES (104, 'a'), (105, 'a'), (106, 'a');
INSERT INTO faults.crash VALUES ('2026-01-01 00:01:00.2');
INSERT INTO outbox_dlq (original_id, queue, payload, deliveries_count, created_at, failure_reason) VALUES
  (3, 'faults.plain', '', 1, now(), 'retry_terminal'), (7, 'faults.plain', '', 1, now(), 'decode_error');
INSERT INTO faults.event (id, op, actor, at, token, since, becomes, becomes_since) VALUES
  (1, 'claim',  'a', at(0),  NULL,   NULL,  tok(1), at(0)),
  (1, 'delete', 'a', at(1),  tok(1), at(0), NULL,   NULL),
  (2, 'claim',  'a', at(0),  NULL,   NULL,  tok(1), at(0)),
  (2, 'retry',  'a', at(1),  tok(1), at(0), NULL,   NULL),
  (2, 'claim',  'a', at(2),  NULL,   NULL,  tok(2), at(2)),
  (2, 'steal',  'b', at(12), tok(2), at(8), tok(3), at(12)),
  (2, 'delete', 'b', at(13), tok(3), at(12), NULL,  NULL),
  (3, 'claim',  'a', at(0),  NULL,   NULL,  tok(1), at(0)),
  (3, 'delete', 'a', at(1),  tok(1), at(0), NULL,   NULL),
  (4, 'claim',  'a', at(0),  NULL,   NULL,  tok(1), at(0)),
  (4, 'delete', 'a', at(1),  tok(1), at(0), NULL,   NULL),
  (5, 'delete', 'a', at(1),  NULL,   NULL,  NULL,   NULL),
  (6, 'claim',  'b', at(70), NULL,   NULL,  tok(6), at(70)),
  (6, 'delete', 'b', at(71), tok(6), at(70), NULL,  NULL),
  (7, 'claim',  'a', at(0),  NULL,   NULL,  tok(1), at(0)),
  (7, 'delete', 'a', at(1),  tok(1), at(0), NULL,   NULL);
INSERT INTO faults.run (worker, run, id, key, held, attempt, delivery, claimed_at, started_at, ended_at, outcome) VALUES
  ('a', 1, 1, 101, false, 1, 1, at(0),  at(0.1),  at(0.2),  'ok'),
  ('a', 2, 2, 102, false, 1, 1, at(0),  at(0.1),  at(0.2),  'fail'),
  ('a', 3, 2, 102, false, 2, 2, at(2),  at(2.1),  at(9),    'ok'),
  ('b', 1, 2, 102, false, 2, 3, at(12), at(12.1), at(12.2), 'ok'),
  ('a', 4, 3, 103, false, 1, 1, at(0),  at(0.1),  at(0.2),  'permanent'),
  ('a', 5, 4, 104, false, 1, 1, at(0),  at(0.1),  at(0.2),  'ok'),
  ('a', 6, 5, 105, true,  1, 1, at(0),  at(0.1),  at(0.2),  'ok'),
  ('a', 7, 6, 106, false, 1, 1, at(60), at(60.1), at(60.2), 'ok'),
  ('b', 2, 6, 106, false, 1, 1, at(70), at(70.1), at(70.2), 'ok');
`

// shorthand makes instants and tokens short to write.
const shorthand = `
CREATE FUNCTION at(float8) RETURNS timestamptz LANGUAGE sql AS $$ SELECT timestamptz '2026-01-01 00:00:00' + make_interval(secs => $1) $$;
CREATE FUNCTION tok(int) RETURNS uuid LANGUAGE sql AS $$ SELECT lpad($1::text, 32, '0')::uuid $$;
`

// history is a database with what a run leaves.
func history(t *testing.T) *pgxpool.Pool {
	t.Helper()
	tables, err := box.SQL()
	if err != nil {
		t.Fatal(err)
	}
	db := pgtest.New(t, pgtest.Schema(tables+";\n"+schemaSQL+";\n"+shorthand))
	if _, err := db.Pool.Exec(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	return db.Pool
}

func TestAudit_CountsWhatIsInOrder(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	f, err := audit(t.Context(), history(t), nil)
	is.NoErr(err)
	is.Equal(f.breaches, nil)
	is.Equal([]int64{f.committed, f.handled, f.dead, f.left, f.lost}, []int64{7, 5, 2, 0, 0})
	is.Equal([]int64{f.runs, f.twice, f.steals}, []int64{9, 1, 1})
	is.Equal(f.why, []count{{"claim undone by a crash", 1}, {"failed attempt", 1}, {"lost lease, after success", 1}})
	is.Equal(f.reasons, []count{{"decode_error", 1}, {"retry_terminal", 1}})
}

// Each case spoils the good history, and names the rule that must see it.
func TestAudit_SeesEachBreach(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, spoil, rule string }{
		{"Lost", `INSERT INTO faults.published VALUES (108, 8, 'faults.plain', 'ok')`, "no message is lost"},
		{"HandledOnlyInVain", `UPDATE faults.run SET outcome = NULL WHERE id = 1`, "no message is lost"},
		{"Left", `INSERT INTO faults.published VALUES (108, 8, 'faults.plain', 'ok');
			INSERT INTO outbox (id, queue, payload) OVERRIDING SYSTEM VALUE VALUES (8, 'faults.plain', '')`, "nothing is left that is due"},
		{"GhostRun", `DELETE FROM faults.published WHERE id = 1`, "no message exists that was not committed"},
		{"GhostLetter", `DELETE FROM faults.published WHERE id = 3; DELETE FROM faults.run WHERE id = 3`, "no message exists that was not committed"},
		{"TwoLetters", `INSERT INTO faults.kept SELECT 99, original_id, queue, payload, headers, deliveries_count, created_at, failed_at,
			failure_reason, last_exception, timer_id FROM outbox_dlq WHERE original_id = 3`, "a message is in one place"},
		{"RowAndLetter", `INSERT INTO outbox (id, queue, payload) OVERRIDING SYSTEM VALUE VALUES (3, 'faults.plain', '')`, "a message is in one place"},
		{"DeletedTwice", `INSERT INTO faults.event (id, op, actor, at) VALUES (5, 'delete', 'b', at(2))`, "a row leaves once"},
		{"SettledByAnother", `UPDATE faults.event SET actor = 'b' WHERE id = 1 AND op = 'delete'`, "only its holder settles a claim"},
		{"SettledWithoutClaim", `UPDATE faults.event SET token = tok(9) WHERE id = 1 AND op = 'delete'`, "only its holder settles a claim"},
		{"TakenEarly", `UPDATE faults.event SET since = at(9.5) WHERE id = 2 AND op = 'steal'`, "no lease is taken before its end"},
		{"RunWithoutClaim", `DELETE FROM faults.crash`, "a run is under a claim of its own process"},
		{"RunUnderAnothersClaim", `UPDATE faults.run SET worker = 'b' WHERE id = 1`, "a run is under a claim of its own process"},
		{"TwoRunsUnderOneClaim", `INSERT INTO faults.run SELECT worker, 99, id, key, held, attempt, delivery, claimed_at, started_at, ended_at, outcome
			FROM faults.run WHERE id = 1`, "a run is under a claim of its own process"},
		{"AgainAfterAck", `UPDATE faults.event SET op = 'release' WHERE id = 2 AND op = 'steal';
			UPDATE faults.event SET becomes = NULL WHERE id = 2 AND op = 'release';
			INSERT INTO faults.event (id, op, actor, at, becomes, becomes_since) VALUES (2, 'claim', 'b', at(12), tok(3), at(12))`, "a further run has its reason"},
		{"BeganAfterAck", `UPDATE faults.run SET started_at = at(1.5), ended_at = at(1.6) WHERE id = 1`, "no run begins after the message was acknowledged"},
		{"AttemptWithoutFailure", `UPDATE faults.run SET outcome = 'cancelled' WHERE id = 2 AND outcome = 'fail'`, "only failures of handlers count as attempts"},
		{"MoreAttemptsThanFailures", `UPDATE faults.run SET attempt = 3 WHERE id = 2 AND worker = 'b'`, "only failures of handlers count as attempts"},
		{"EffectTwice", `INSERT INTO faults.effect VALUES (104, 'b')`, "transactional work is done exactly once"},
		{"EffectNever", `DELETE FROM faults.effect WHERE key = 105`, "transactional work is done exactly once"},
		{"EffectOfADeadMessage", `UPDATE faults.published SET queue = 'faults.tx' WHERE id = 3; INSERT INTO faults.effect VALUES (103, 'a')`, "transactional work is done exactly once"},
		{"EffectOfNothing", `INSERT INTO faults.effect VALUES (999, 'a')`, "transactional work is done exactly once"},
		{"DeadForNothing", `UPDATE outbox_dlq SET failure_reason = 'max_deliveries' WHERE original_id = 3`, "a dead letter has its reason"},
		{"DeadWithoutFailure", `UPDATE faults.run SET outcome = 'cancelled' WHERE id = 3`, "a dead letter has its reason"},
		{"DeadButDecodes", `UPDATE faults.published SET kind = 'ok' WHERE id = 7`, "a dead letter has its reason"},
		{"RunWithoutDecoding", `UPDATE faults.published SET kind = 'poison' WHERE id = 3`, "a dead letter has its reason"},
	}
	seen := map[string]bool{}
	for _, test := range tests {
		seen[test.rule] = true
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := history(t)
			_, err := db.Exec(t.Context(), test.spoil)
			is.NoErr(err)
			f, err := audit(t.Context(), db, nil)
			is.NoErr(err)
			var broken []string
			for _, b := range f.breaches {
				broken = append(broken, b.rule)
				is.True(b.count >= len(b.lines) && len(b.lines) > 0)
			}
			if !strings.Contains(strings.Join(broken, "\n"), test.rule) {
				t.Errorf("%q was not seen; seen were %q", test.rule, broken)
			}
		})
	}
	for _, r := range rules {
		if !seen[r.name] {
			t.Errorf("no case for %q", r.name)
		}
	}
}

// A process that is stopped while its handler's transaction begins calls the handler when it wakes, though the lease is gone. What
// that writes is rolled back, and so it is the effects that count.
func TestAudit_LateRunsInATransactionAreJudgedByTheirEffects(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := history(t)
	_, err := db.Exec(t.Context(), `UPDATE faults.run SET started_at = at(100), ended_at = at(101) WHERE id IN (4, 5)`)
	is.NoErr(err)
	f, err := audit(t.Context(), db, nil)
	is.NoErr(err)
	is.Equal(f.breaches, nil)
}

func TestLoadRuns_TakesWhatJournalsTell(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	const text = `{"run":1,"id":1,"key":101,"attempt":1,"delivery":1,"claimed":1767225600000000,"at":1767225600100000}
{"run":2,"id":2,"key":102,"held":true,"attempt":2,"delivery":3,"claimed":1767225600000000,"at":1767225600100000}
{"run":1,"outcome":"ok","at":1767225600200000}
{"run":2,"outco`
	runs, err := readJournal("a", strings.NewReader(text))
	is.NoErr(err)
	is.Equal(len(runs), 2)
	is.Equal(runs[0].outcome, "ok")
	is.Equal(runs[1].outcome, "") // cut off with its process

	db := history(t)
	_, err = db.Exec(t.Context(), `DELETE FROM faults.run WHERE id = 1`)
	is.NoErr(err)
	f, err := audit(t.Context(), db, runs[:1])
	is.NoErr(err)
	is.Equal(f.breaches, nil)

	_, err = readJournal("a", strings.NewReader(`{"run":1,"outcome":"ok","at":1}`+"\n"))
	is.True(err != nil) // never began
}

func TestJournal_WritesTheMachinesTime(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	dir := t.TempDir()
	j, err := openJournal(filepath.Join(dir, "a"+journalSuffix), -2*time.Hour)
	is.NoErr(err)
	end := j.begin(line{ID: 7, Key: 8, Attempt: 1, Delivery: 1})
	end("fail")
	runs, err := readJournals(dir)
	is.NoErr(err)
	is.Equal(len(runs), 1)
	r := runs[0]
	is.Equal([]any{r.worker, r.outcome, r.began.ID, r.began.Key}, []any{"a", "fail", int64(7), int64(8)})
	is.True(time.Until(time.UnixMicro(r.began.At)) > time.Hour) // this process's clock is right, so the correction shows
}
