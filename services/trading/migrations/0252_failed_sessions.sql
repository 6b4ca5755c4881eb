-- migrate:up
-- A live session of which a bar cannot be stepped enters nothing until one is.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

ALTER TABLE session_leases
    DROP CONSTRAINT session_leases_blocked_by_check,
    ADD CONSTRAINT session_leases_blocked_by_check CHECK (blocked_by <@ ARRAY[
        'KILL_SWITCH', 'FROZEN', 'ACCOUNT_RISK', 'NOT_RECONCILED', 'ACCOUNT_REFUSED', 'FAILED']),
    ALTER COLUMN allows SET EXPRESSION AS (CASE
        WHEN entries <> 'ALLOWED' THEN entries
        WHEN 'KILL_SWITCH' = ANY (blocked_by) THEN 'KILL_SWITCH'
        WHEN 'FROZEN' = ANY (blocked_by) THEN 'FROZEN'
        WHEN 'ACCOUNT_RISK' = ANY (blocked_by) THEN 'ACCOUNT_RISK'
        WHEN 'NOT_RECONCILED' = ANY (blocked_by) THEN 'NOT_RECONCILED'
        WHEN 'ACCOUNT_REFUSED' = ANY (blocked_by) THEN 'ACCOUNT_REFUSED'
        WHEN 'FAILED' = ANY (blocked_by) THEN 'FAILED'
        ELSE 'ALLOWED' END);

ALTER TABLE session_restrictions
    DROP CONSTRAINT session_restrictions_kind_check,
    ADD CONSTRAINT session_restrictions_kind_check CHECK (kind IN (
        'PAUSED', 'RESUMED', 'PLAN_LIMIT', 'PLAN_LIMIT_LIFTED', 'FEED_SILENT', 'FEED_SILENT_LIFTED',
        'INSTRUMENT_CHANGED', 'KILL_SWITCH', 'KILL_SWITCH_LIFTED', 'ACCOUNT_RISK', 'ACCOUNT_RISK_LIFTED', 'FROZEN',
        'FROZEN_LIFTED', 'NOT_RECONCILED', 'NOT_RECONCILED_LIFTED', 'ACCOUNT_REFUSED', 'ACCOUNT_REFUSED_LIFTED',
        'FAILED', 'FAILED_LIFTED', 'STOPPING', 'STOPPED'));

-- migrate:down
