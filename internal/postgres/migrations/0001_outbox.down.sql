-- This removes every message and every dead letter.

DROP TABLE IF EXISTS "outbox_dlq";

DROP TABLE IF EXISTS "outbox";
