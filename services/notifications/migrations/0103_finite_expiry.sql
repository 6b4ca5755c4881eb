-- migrate:up
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- The ends of the calendar are stored as infinity and read back as times without an offset, which nobody can compare
-- with a bar's: one such alert held up those of everybody on its series. What never ends has no expiry.
UPDATE user_alerts SET expires_at = NULL WHERE expires_at >= '2200-01-01Z';
UPDATE user_alerts SET expires_at = '1970-01-01Z' WHERE expires_at < '1970-01-01Z';
ALTER TABLE user_alerts ADD CONSTRAINT user_alerts_expires_at_check
    CHECK (expires_at >= '1970-01-01Z' AND expires_at < '2200-01-01Z');

-- migrate:down
