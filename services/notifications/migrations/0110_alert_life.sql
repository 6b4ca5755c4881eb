-- migrate:up
SET lock_timeout = '5s';
SET statement_timeout = '10min';

-- ONCE: the firing switches the alert off.
ALTER TABLE user_alerts ADD COLUMN repeat text NOT NULL DEFAULT 'ALWAYS' CHECK (repeat IN ('ALWAYS', 'ONCE'));

-- What a firing saw. Those from before this have the bar only.
ALTER TABLE alert_firings
    ADD COLUMN closed_at timestamptz,
    ADD COLUMN price numeric CHECK (price <> 'NaN'),
    ADD COLUMN value_seen text;
CREATE INDEX alert_firings_by_age ON alert_firings (created_at);

-- Alerts that say the same are asked for together, whoever made them.
CREATE FUNCTION condition_hash(alert_type text, condition_data jsonb) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT sha256(convert_to(alert_type || ' ' || condition_data::text, 'UTF8'))
$$;
ALTER TABLE user_alerts
    ADD COLUMN condition_hash bytea GENERATED ALWAYS AS (condition_hash(alert_type, condition_data)) STORED;
DROP INDEX alerts_of_series;
CREATE INDEX alerts_of_series ON user_alerts (user_id, symbol, interval, condition_hash) WHERE is_active;
CREATE INDEX alerts_that_end ON user_alerts (user_id, symbol, interval, expires_at)
    WHERE is_active AND expires_at IS NOT NULL;

-- migrate:down
