-- migrate:up
-- Since when a session's candles stay away, by the exchange's clock, and since when it cannot be stepped: its tenant
-- is told once of each.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

ALTER TABLE session_leases ADD COLUMN silent_since timestamptz, ADD COLUMN failed_at timestamptz;

ALTER TABLE session_restrictions DROP CONSTRAINT session_restrictions_kind_check;
ALTER TABLE session_restrictions ADD CONSTRAINT session_restrictions_kind_check CHECK (
    kind IN ('PAUSED', 'RESUMED', 'PLAN_LIMIT', 'PLAN_LIMIT_LIFTED', 'FEED_SILENT', 'FEED_SILENT_LIFTED', 'STOPPED')
);

-- migrate:down
