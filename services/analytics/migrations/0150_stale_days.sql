-- migrate:up
-- Facts are stored at once, days are computed when they are needed: what of whose days has to be computed again.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

CREATE TABLE stale_days (
    user_id bigint NOT NULL,
    mode text NOT NULL CHECK (mode IN ('PAPER', 'LIVE')),
    since timestamptz NOT NULL,
    PRIMARY KEY (user_id, mode)
);
COMMENT ON COLUMN stale_days.since IS 'the earliest change of a fact that the days do not include';
CALL tenant_table('stale_days', app => 'SELECT', worker => 'SELECT, INSERT, UPDATE, DELETE', queue => 'SELECT');

-- migrate:down
