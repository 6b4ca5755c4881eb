-- migrate:up
-- Entries wait until their account is reconciled with the exchange, and stop while it cannot be or is refused.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- When an account was found to have nothing on the exchange that the database does not know. That counts as long as
-- the server runs that wrote it, and in the row as it was written: one that was read back from a backup has another
-- xmin. So nothing has to notice that the database was restored.
CREATE TABLE account_reconciliations (
    user_id bigint NOT NULL,
    exchange_account_id uuid NOT NULL,
    reconciled_at timestamptz NOT NULL DEFAULT now(),
    server_started timestamptz NOT NULL DEFAULT pg_postmaster_start_time(),
    written_by xid NOT NULL DEFAULT pg_current_xact_id()::xid,
    PRIMARY KEY (user_id, exchange_account_id),
    FOREIGN KEY (user_id, exchange_account_id)
        REFERENCES exchange_accounts (user_id, exchange_account_id) ON DELETE CASCADE
);
CALL tenant_table('account_reconciliations', app => 'SELECT, INSERT, UPDATE', worker => 'SELECT');

ALTER TABLE session_leases
    DROP CONSTRAINT session_leases_blocked_by_check,
    ADD CONSTRAINT session_leases_blocked_by_check CHECK (blocked_by <@ ARRAY[
        'KILL_SWITCH', 'FROZEN', 'ACCOUNT_RISK', 'NOT_RECONCILED', 'ACCOUNT_REFUSED']),
    ALTER COLUMN allows SET EXPRESSION AS (CASE
        WHEN entries <> 'ALLOWED' THEN entries
        WHEN 'KILL_SWITCH' = ANY (blocked_by) THEN 'KILL_SWITCH'
        WHEN 'FROZEN' = ANY (blocked_by) THEN 'FROZEN'
        WHEN 'ACCOUNT_RISK' = ANY (blocked_by) THEN 'ACCOUNT_RISK'
        WHEN 'NOT_RECONCILED' = ANY (blocked_by) THEN 'NOT_RECONCILED'
        WHEN 'ACCOUNT_REFUSED' = ANY (blocked_by) THEN 'ACCOUNT_REFUSED'
        ELSE 'ALLOWED' END);

ALTER TABLE session_restrictions
    DROP CONSTRAINT session_restrictions_kind_check,
    ADD CONSTRAINT session_restrictions_kind_check CHECK (kind IN (
        'PAUSED', 'RESUMED', 'PLAN_LIMIT', 'PLAN_LIMIT_LIFTED', 'FEED_SILENT', 'FEED_SILENT_LIFTED',
        'INSTRUMENT_CHANGED', 'KILL_SWITCH', 'KILL_SWITCH_LIFTED', 'ACCOUNT_RISK', 'ACCOUNT_RISK_LIFTED', 'FROZEN',
        'FROZEN_LIFTED', 'NOT_RECONCILED', 'NOT_RECONCILED_LIFTED', 'ACCOUNT_REFUSED', 'ACCOUNT_REFUSED_LIFTED',
        'STOPPING', 'STOPPED'));

-- migrate:down
