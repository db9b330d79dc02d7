-- What Alembic 1.8 writes for the tables of faststream-outbox 0.13, in offline mode.

CREATE TABLE outbox (
    id BIGSERIAL NOT NULL,
    queue VARCHAR(255) NOT NULL,
    payload BYTEA NOT NULL,
    headers JSONB,
    attempts_count BIGINT DEFAULT '0' NOT NULL,
    deliveries_count BIGINT DEFAULT '0' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    next_attempt_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    first_attempt_at TIMESTAMP WITH TIME ZONE,
    last_attempt_at TIMESTAMP WITH TIME ZONE,
    acquired_at TIMESTAMP WITH TIME ZONE,
    acquired_token UUID,
    timer_id VARCHAR(255),
    PRIMARY KEY (id),
    CONSTRAINT outbox_lease_ck CHECK ((acquired_token IS NULL) = (acquired_at IS NULL))
);

CREATE INDEX outbox_lease_idx ON outbox (queue, acquired_at) WHERE acquired_token IS NOT NULL;

CREATE INDEX outbox_pending_idx ON outbox (queue, next_attempt_at) WHERE acquired_token IS NULL;

CREATE UNIQUE INDEX outbox_timer_id_uq ON outbox (queue, timer_id) WHERE timer_id IS NOT NULL;

CREATE TABLE outbox_dlq (
    id BIGSERIAL NOT NULL,
    original_id BIGINT NOT NULL,
    queue VARCHAR(255) NOT NULL,
    payload BYTEA NOT NULL,
    headers JSONB,
    deliveries_count BIGINT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    failed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    failure_reason VARCHAR(64) NOT NULL,
    last_exception VARCHAR,
    timer_id VARCHAR(255),
    PRIMARY KEY (id)
);

CREATE INDEX outbox_dlq_queue_failed_idx ON outbox_dlq (queue, failed_at);
