-- migrate:up
-- Live sessions: their account, the claim of its symbol, and everything that stops entries, on the lease.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- Foreign orders on the exchange that the tenant lets stand, and the quantity of the position that is not the session's;
-- negative if short.
ALTER TABLE user_trading_sessions
    ADD COLUMN ignored_orders text[] NOT NULL DEFAULT '{}',
    ADD COLUMN ignored_quantity numeric NOT NULL DEFAULT 0 CHECK (ignored_quantity <> 'NaN'),
    ADD CHECK (exchange_account_id IS NULL OR NOT is_paper_trading),
    DROP CONSTRAINT user_trading_sessions_status_check,
    ADD CONSTRAINT user_trading_sessions_status_check CHECK (status IN ('ACTIVE', 'PAUSED', 'STOPPING', 'STOPPED'));

-- `entries` is what the tenant and their plan allow, `blocked_by` what stops entries besides, each lifted for itself, and
-- `allows` both together: workers read it, and a step is written only if it has not changed. `flatten` is the reason
-- with which everything is closed, `frozen_answer` how the tenant answered a foreign change.
ALTER TABLE session_leases
    ADD COLUMN blocked_by text[] NOT NULL DEFAULT '{}'
        CHECK (blocked_by <@ ARRAY['KILL_SWITCH', 'FROZEN', 'ACCOUNT_RISK']),
    ADD COLUMN killed_at timestamptz,
    ADD COLUMN flatten text,
    ADD COLUMN frozen_answer text CHECK (frozen_answer IN ('adopt', 'ignore')),
    DROP CONSTRAINT session_leases_entries_check,
    ADD CONSTRAINT session_leases_entries_check CHECK (entries IN ('ALLOWED', 'PAUSED', 'PLAN_LIMIT', 'STOPPING')),
    ADD COLUMN allows text NOT NULL GENERATED ALWAYS AS (CASE
        WHEN entries <> 'ALLOWED' THEN entries
        WHEN 'KILL_SWITCH' = ANY (blocked_by) THEN 'KILL_SWITCH'
        WHEN 'FROZEN' = ANY (blocked_by) THEN 'FROZEN'
        WHEN 'ACCOUNT_RISK' = ANY (blocked_by) THEN 'ACCOUNT_RISK'
        ELSE 'ALLOWED' END) STORED;

ALTER TABLE session_restrictions
    DROP CONSTRAINT session_restrictions_kind_check,
    ADD CONSTRAINT session_restrictions_kind_check CHECK (kind IN (
        'PAUSED', 'RESUMED', 'PLAN_LIMIT', 'PLAN_LIMIT_LIFTED', 'FEED_SILENT', 'FEED_SILENT_LIFTED',
        'INSTRUMENT_CHANGED', 'KILL_SWITCH', 'KILL_SWITCH_LIFTED', 'ACCOUNT_RISK', 'ACCOUNT_RISK_LIFTED', 'FROZEN',
        'FROZEN_LIFTED', 'STOPPING', 'STOPPED'));

-- One live session per exchange account (whoever holds keys of it) and symbol: one-way mode nets their positions.
CREATE TABLE live_symbol_locator (
    key_sha256 bytea PRIMARY KEY CHECK (length(key_sha256) = 32),
    user_id bigint NOT NULL,
    session_id uuid NOT NULL
);
CREATE INDEX live_symbols_of_session ON live_symbol_locator (session_id);

-- Claim a symbol of an account for a session of the current tenant; whether the session has it now.
CREATE FUNCTION claim_live_symbol(environment text, uid text, symbol text, claimant uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    tenant bigint := nullif(current_setting('app.user_id', true), '')::bigint;
    hashed bytea := sha256(convert_to(environment || ' ' || uid || ' ' || symbol, 'UTF8'));
BEGIN
    IF tenant IS NULL OR hashed IS NULL OR claimant IS NULL THEN
        RAISE EXCEPTION 'a symbol is claimed for a session of a tenant' USING ERRCODE = 'insufficient_privilege';
    END IF;
    INSERT INTO live_symbol_locator VALUES (hashed, tenant, claimant) ON CONFLICT DO NOTHING;
    RETURN EXISTS (SELECT FROM live_symbol_locator AS l
                   WHERE l.key_sha256 = hashed AND l.user_id = tenant AND l.session_id = claimant);
END
$$;

-- Give up what a session of the current tenant has claimed; whether there was anything.
CREATE FUNCTION release_live_symbol(claimant uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    DELETE FROM live_symbol_locator AS l
    WHERE l.session_id = claimant AND l.user_id = nullif(current_setting('app.user_id', true), '')::bigint;
    RETURN FOUND;
END
$$;

DO $$
BEGIN
    ALTER FUNCTION claim_live_symbol SET search_path = trading, pg_temp;
    ALTER FUNCTION release_live_symbol SET search_path = trading, pg_temp;
    REVOKE ALL ON FUNCTION claim_live_symbol, release_live_symbol FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION claim_live_symbol, release_live_symbol TO trading_app;
END
$$;

-- migrate:down
