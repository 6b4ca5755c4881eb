-- migrate:up
-- What a user writes to an analysis, and how long analyses are kept for him.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

ALTER TABLE user_market_analysis ADD COLUMN version integer NOT NULL DEFAULT 1;
COMMENT ON COLUMN user_market_analysis.version IS 'rises with every change of user_notes';
COMMENT ON COLUMN user_market_analysis.is_watchlist IS 'whether its watch was on the list when the candle closed';

DO $$
DECLARE
    service text := current_schema();
BEGIN
    EXECUTE format('GRANT UPDATE ON user_market_analysis TO %I', service || '_app');
    EXECUTE format('GRANT DELETE ON user_market_analysis TO %I', service || '_worker');
END
$$;

-- Projection of subscription.changed: what of it the retention needs. Who is not here keeps everything.
CREATE TABLE entitlements (
    user_id bigint PRIMARY KEY,
    subscription_version bigint NOT NULL,
    plan text NOT NULL CHECK (plan IN ('FREE', 'PREMIUM', 'PRO')),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CALL tenant_table('entitlements', app => '', worker => 'SELECT, INSERT, UPDATE');
CALL keep_updated_at('entitlements');

-- migrate:down
