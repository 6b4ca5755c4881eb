-- migrate:up
-- Alerts that are due are found by what came true, for all tenants of a block together: few of many.
SET lock_timeout = '5s';
SET statement_timeout = '10min';

CREATE INDEX alerts_by_condition ON user_alerts (symbol, interval, condition_hash) WHERE is_active;
CREATE INDEX alerts_by_end ON user_alerts (symbol, interval, expires_at) WHERE is_active AND expires_at IS NOT NULL;
DROP INDEX alerts_that_end;

-- migrate:down
