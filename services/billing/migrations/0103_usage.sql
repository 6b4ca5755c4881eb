-- migrate:up
-- One row per closed trade, for ever: what was used is counted from here.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

CREATE TABLE usage_ledger (
    user_id bigint NOT NULL,
    trade_id uuid NOT NULL,
    session_id uuid NOT NULL,
    mode text NOT NULL CHECK (mode IN ('PAPER', 'LIVE')),
    occurred_at timestamptz NOT NULL,
    booked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, trade_id)
);
COMMENT ON COLUMN usage_ledger.occurred_at IS 'when the event was written (ce_time), which decides the period it counts in';
CREATE INDEX usage_ledger_by_time ON usage_ledger (user_id, occurred_at) INCLUDE (mode);
CALL tenant_table('usage_ledger', app => 'SELECT', worker => 'SELECT, INSERT');

-- migrate:down
