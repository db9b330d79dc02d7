package main

// schemaSQL is what the harness adds to an outbox. The trigger tells who did what to a row: connections name the process
// that they belong to. What a crash or a rollback undoes, it undoes here too.
const schemaSQL = `
CREATE SCHEMA faults;

-- What publishers committed.
CREATE TABLE faults.published (
  key   bigint PRIMARY KEY,
  id    bigint NOT NULL,
  queue text   NOT NULL,
  kind  text   NOT NULL
);

-- What transactional handlers committed.
CREATE TABLE faults.effect (
  key    bigint NOT NULL,
  worker text   NOT NULL
);

-- What became of the rows' leases. Extensions are left out.
CREATE TABLE faults.event (
  seq           bigint GENERATED ALWAYS AS IDENTITY,
  id            bigint      NOT NULL,
  op            text        NOT NULL,
  actor         text        NOT NULL,
  at            timestamptz NOT NULL,
  token         uuid,        -- before
  since         timestamptz,
  becomes       uuid,        -- after
  becomes_since timestamptz
);

CREATE FUNCTION faults.note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  op      text;
  becomes outbox;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    becomes := NEW;
    op := CASE
      WHEN OLD.acquired_token IS NULL AND NEW.acquired_token IS NOT NULL THEN 'claim'
      WHEN NEW.acquired_token IS NOT NULL                                THEN 'steal'
      WHEN NEW.attempts_count > OLD.attempts_count                       THEN 'retry'
      ELSE 'release' END;
  ELSE
    op := 'delete';
  END IF;
  INSERT INTO faults.event (id, op, actor, at, token, since, becomes, becomes_since)
  VALUES (OLD.id, op, current_setting('application_name'), clock_timestamp(),
          OLD.acquired_token, OLD.acquired_at, becomes.acquired_token, becomes.acquired_at);
  RETURN NULL;
END $$;

CREATE TRIGGER note_update AFTER UPDATE ON outbox FOR EACH ROW
WHEN (OLD.acquired_token IS NULL OR OLD.acquired_token IS DISTINCT FROM NEW.acquired_token)
EXECUTE FUNCTION faults.note();

CREATE TRIGGER note_delete AFTER DELETE ON outbox FOR EACH ROW EXECUTE FUNCTION faults.note();

-- Dead letters that were taken out before their table was dropped.
CREATE TABLE faults.kept AS TABLE outbox_dlq;

-- When the server crashed.
CREATE TABLE faults.crash (at timestamptz NOT NULL);

-- What handlers did, by their journals.
CREATE TABLE faults.run (
  worker     text        NOT NULL,
  run        bigint      NOT NULL,
  id         bigint      NOT NULL,
  key        bigint      NOT NULL,
  held       bool        NOT NULL,
  attempt    bigint      NOT NULL,
  delivery   bigint      NOT NULL,
  claimed_at timestamptz NOT NULL,
  started_at timestamptz NOT NULL,
  ended_at   timestamptz,
  outcome    text
)`
