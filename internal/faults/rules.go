package main

// rule is one thing that must hold. Its query gives a line of text for each breach.
type rule struct {
	name string
	sql  string
}

// prepareSQL puts together what the rules read.
const prepareSQL = `
CREATE TEMPORARY TABLE buried AS
  SELECT id AS letter, original_id, failure_reason, deliveries_count FROM outbox_dlq
  UNION ALL SELECT id, original_id, failure_reason, deliveries_count FROM faults.kept;
CREATE INDEX ON buried (original_id);

-- A claim, and what ended it.
CREATE TEMPORARY TABLE claim AS
  SELECT c.id, c.becomes AS token, c.becomes_since AS claimed_at, c.actor, c.seq,
         e.op AS ended, e.at AS ended_at, e.actor AS ended_by, e.since AS last_extended
  FROM faults.event AS c
  LEFT JOIN faults.event AS e ON e.id = c.id AND e.token = c.becomes
  WHERE c.op IN ('claim', 'steal');
CREATE INDEX ON claim (id, claimed_at);

CREATE INDEX ON faults.event (id);
CREATE INDEX ON faults.run (id);
CREATE INDEX ON faults.run (key);
CREATE INDEX ON faults.published (id);
CREATE INDEX ON faults.effect (key);

-- A run, the claim that it was under, and whether that one is gone with a crash: claims do not wait for the disk.
CREATE TEMPORARY TABLE run AS
  SELECT r.*, r.outcome IN ` + successes + ` AS succeeded, c.token, c.actor, c.ended, c.ended_at AS claim_ended_at,
         NOT r.held AND c.token IS NULL AND EXISTS (
           SELECT FROM faults.crash AS k
           WHERE k.at BETWEEN r.claimed_at - interval '1 second' AND r.claimed_at + interval '2 seconds') AS undone,
         row_number() OVER (PARTITION BY r.id ORDER BY r.claimed_at, r.started_at) AS nth
  FROM faults.run AS r
  LEFT JOIN claim AS c ON c.id = r.id AND c.claimed_at = r.claimed_at AND c.actor = r.worker AND NOT r.held;
CREATE INDEX ON run (id, nth);

-- What became of each message that was committed.
CREATE TEMPORARY TABLE fate AS
  SELECT p.key, p.id, p.queue, p.kind,
         CASE WHEN EXISTS (SELECT FROM outbox AS o WHERE o.id = p.id)          THEN 'left'
              WHEN EXISTS (SELECT FROM buried AS b WHERE b.original_id = p.id) THEN 'dead'
              WHEN EXISTS (SELECT FROM run AS r WHERE r.id = p.id AND r.key = p.key AND r.succeeded) THEN 'handled'
              ELSE 'lost' END AS fate
  FROM faults.published AS p;
CREATE INDEX ON fate (id);
CREATE INDEX ON fate (key);

-- Why a message was run again after a run, where that is in order.
CREATE TEMPORARY TABLE again AS
  SELECT r.id, r.nth, r.worker, r.started_at, p.outcome AS before, p.ended,
         p.succeeded AND f.queue NOT IN ('faults.tx', 'faults.chain', 'faults.batch-tx') AS twice,
         CASE
           WHEN r.held OR p.held                                   THEN 'held transaction rolled back'
           WHEN p.ended = 'retry' AND p.outcome IN ` + failures + ` THEN 'failed attempt'
           WHEN p.ended = 'release' AND NOT coalesce(p.succeeded AND f.queue NOT IN ('faults.tx', 'faults.chain'), false)
                                                                   THEN 'handed back or put off'
           WHEN p.ended = 'steal'                                  THEN 'lost lease'
           WHEN p.undone                                           THEN 'claim undone by a crash'
         END AS why
  FROM run AS r
  JOIN run AS p ON p.id = r.id AND p.nth = r.nth - 1
  LEFT JOIN fate AS f ON f.id = r.id`

// rules are what the audit asks.
var rules = []rule{
	{"no message is lost", `
		SELECT format('message %s (key %s) of %s left the table, and no run of it succeeded', id, key, queue)
		FROM fate WHERE fate = 'lost'`},
	{"nothing is left that is due", `
		SELECT format('message %s of %s: due since %s, token %s', id, queue, next_attempt_at, acquired_token)
		FROM outbox`},
	{"no message exists that was not committed", `
		SELECT format('run %s of %s: message %s (key %s) was never committed', r.run, r.worker, r.id, r.key)
		FROM run AS r WHERE NOT EXISTS (SELECT FROM fate AS f WHERE f.id = r.id AND f.key = r.key)
		UNION ALL
		SELECT format('dead letter of message %s, which was never committed', b.original_id)
		FROM buried AS b WHERE NOT EXISTS (SELECT FROM fate AS f WHERE f.id = b.original_id)
		UNION ALL
		SELECT format('row of message %s, which was never committed', o.id)
		FROM outbox AS o WHERE NOT EXISTS (SELECT FROM fate AS f WHERE f.id = o.id)`},
	{"a message is in one place", `
		SELECT format('message %s has %s dead letters', original_id, count(*))
		FROM buried GROUP BY original_id HAVING count(*) > 1
		UNION ALL
		SELECT format('message %s has a row and a dead letter', o.id)
		FROM outbox AS o JOIN buried AS b ON b.original_id = o.id`},
	{"a row leaves once", `
		SELECT format('message %s was deleted %s times', id, count(*))
		FROM faults.event WHERE op = 'delete' GROUP BY id HAVING count(*) > 1`},
	{"only its holder settles a claim", `
		SELECT format('message %s: %s by %s at %s, while %s held it', c.id, c.ended, c.ended_by, c.ended_at, c.actor)
		FROM claim AS c WHERE c.ended <> 'steal' AND c.ended_by <> c.actor
		UNION ALL
		SELECT format('message %s: %s by %s of a claim that nobody made', e.id, e.op, e.actor)
		FROM faults.event AS e
		WHERE e.token IS NOT NULL AND NOT EXISTS (SELECT FROM claim AS c WHERE c.id = e.id AND c.token = e.token)`},
	{"no lease is taken before its end", `
		SELECT format('message %s: taken by %s from %s, %s after the lease began', id, ended_by, actor, ended_at - last_extended)
		FROM claim WHERE ended = 'steal' AND ended_at - last_extended < $1::interval`},
	{"a run is under a claim of its own process", `
		SELECT format('run %s of %s: no claim of message %s at %s', run, worker, id, claimed_at)
		FROM run WHERE NOT held AND token IS NULL AND NOT undone
		UNION ALL
		SELECT format('message %s was run %s times under one claim of %s', id, count(*), worker)
		FROM run WHERE NOT held GROUP BY id, worker, claimed_at HAVING count(*) > 1`},
	{"a further run has its reason", `
		SELECT format('message %s was run again by %s at %s; before: outcome %s, claim ended by %s', id, worker, started_at, before, ended)
		FROM again WHERE why IS NULL`},
	{"no run begins after the message was acknowledged", `
		SELECT format('message %s: run %s of %s began at %s, %s after its row had gone (claimed at %s; claim ended by %s at %s)',
		              r.id, r.run, r.worker, r.started_at, r.started_at - e.at, r.claimed_at, r.ended, r.claim_ended_at)
		FROM run AS r JOIN faults.event AS e ON e.id = r.id AND e.op = 'delete'
		LEFT JOIN fate AS f ON f.id = r.id
		WHERE r.started_at > e.at
		  AND coalesce(f.queue, '') NOT IN ('faults.tx', 'faults.chain', 'faults.batch-tx')`}, // see the rule on their effects
	{"only failures of handlers count as attempts", `
		SELECT format('message %s: an attempt of %s was counted at %s, and no run of it had failed', e.id, e.actor, e.at)
		FROM faults.event AS e
		WHERE e.op = 'retry' AND NOT EXISTS (
		  SELECT FROM run AS r
		  WHERE r.id = e.id AND r.worker = e.actor AND r.outcome IN ` + failures + ` AND r.token IS NOT DISTINCT FROM e.token)
		UNION ALL
		SELECT format('message %s: attempt %s after %s failures', r.id, r.attempt, count(p.id))
		FROM run AS r LEFT JOIN run AS p ON p.id = r.id AND p.nth < r.nth AND p.outcome IN ` + failures + `
		GROUP BY r.id, r.nth, r.attempt HAVING r.attempt - 1 > count(p.id)`},
	{"transactional work is done exactly once", `
		SELECT format('message %s (key %s) of %s is %s and has %s effects', f.id, f.key, f.queue, f.fate, count(e.key))
		FROM fate AS f LEFT JOIN faults.effect AS e ON e.key = f.key
		WHERE f.queue IN ('faults.tx', 'faults.batch-tx', 'faults.chain')
		GROUP BY f.id, f.key, f.queue, f.fate
		HAVING count(e.key) <> CASE WHEN f.fate = 'handled' AND NOT EXISTS (
		         SELECT FROM run AS r WHERE r.id = f.id AND r.outcome = 'discard') THEN 1 ELSE 0 END
		UNION ALL
		SELECT format('key %s has an effect and was never committed', e.key)
		FROM faults.effect AS e WHERE NOT EXISTS (SELECT FROM fate AS f WHERE f.key = e.key)`},
	{"a dead letter has its reason", `
		SELECT format('message %s (%s) is dead for %s, after %s deliveries', f.id, f.kind, b.failure_reason, b.deliveries_count)
		FROM fate AS f JOIN buried AS b ON b.original_id = f.id
		WHERE NOT CASE b.failure_reason
		  WHEN 'decode_error'   THEN f.kind = 'poison'
		  WHEN 'retry_terminal' THEN EXISTS (SELECT FROM run AS r WHERE r.id = f.id AND r.outcome IN ` + failures + `)
		  WHEN 'rejected'       THEN EXISTS (SELECT FROM run AS r WHERE r.id = f.id AND r.outcome = 'reject')
		  WHEN 'max_deliveries' THEN b.deliveries_count > CASE f.queue WHEN 'faults.deadly' THEN $2::bigint ELSE $3::bigint END
		  ELSE false END
		UNION ALL
		SELECT format('message %s does not decode and is %s', f.id, f.fate) FROM fate AS f WHERE f.kind = 'poison' AND f.fate = 'handled'
		UNION ALL
		SELECT format('message %s does not decode and was run', f.id)
		FROM fate AS f JOIN run AS r ON r.id = f.id WHERE f.kind = 'poison'`},
}
