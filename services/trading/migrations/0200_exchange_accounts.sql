-- migrate:up
-- Accounts at the exchange, and the keys with which the platform trades on them. A secret stands in a table of its own,
-- encrypted: the role that serves requests can write it and not read it back.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- `key_*`, `permissions`, `addresses` and `refusals` are those of the last check; `alarmed` lists the faults that the
-- tenant has been notified of and that still hold.
CREATE TABLE exchange_accounts (
    user_id bigint NOT NULL,
    exchange_account_id uuid NOT NULL,
    public_id uuid NOT NULL,
    account_name text NOT NULL,
    environment text NOT NULL CHECK (environment IN ('LIVE', 'DEMO', 'TESTNET', 'SANDBOX')),
    region text NOT NULL,
    product text NOT NULL,
    exchange_uid text NOT NULL,
    parent_uid text,
    status text NOT NULL DEFAULT 'READY' CHECK (status IN ('READY', 'REFUSED', 'KEY_REJECTED')),
    refusals jsonb NOT NULL DEFAULT '[]',
    alarmed jsonb NOT NULL DEFAULT '[]',
    key_version integer NOT NULL DEFAULT 1,
    key_hash bytea NOT NULL CHECK (length(key_hash) = 32),
    masked_api_key text NOT NULL,
    permissions jsonb NOT NULL,
    addresses jsonb NOT NULL,
    is_third_party boolean NOT NULL,
    key_expires_at timestamptz,
    margin_mode text NOT NULL,
    kyc_region text NOT NULL,
    checked_at timestamptz NOT NULL,
    revision integer NOT NULL DEFAULT 1,
    event_seq bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, exchange_account_id),
    UNIQUE (user_id, account_name),
    UNIQUE (user_id, environment, exchange_uid),
    UNIQUE (user_id, key_hash)
);
CREATE INDEX exchange_accounts_of_user ON exchange_accounts (user_id, created_at, exchange_account_id);
CALL tenant_table('exchange_accounts', app => 'SELECT, INSERT, UPDATE, DELETE', worker => 'SELECT, UPDATE');
CALL keep_updated_at('exchange_accounts');

-- The API key and its secret, encrypted with a data key of this row, which is wrapped by the key `key_id` of the
-- operator's ring. `version` is the account's `key_version`. The worker reads it and may only wrap the data key again.
CREATE TABLE exchange_secrets (
    user_id bigint NOT NULL,
    exchange_account_id uuid NOT NULL,
    version integer NOT NULL,
    key_id text NOT NULL,
    wrapped_key bytea NOT NULL,
    ciphertext bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, exchange_account_id, version),
    FOREIGN KEY (user_id, exchange_account_id)
        REFERENCES exchange_accounts (user_id, exchange_account_id) ON DELETE CASCADE
);
CALL tenant_table('exchange_secrets', app => 'INSERT', worker => 'SELECT, UPDATE (key_id, wrapped_key)');

-- A replaced key is destroyed with the statement that stores the new one. The role that stores it can delete nothing.
CREATE FUNCTION destroy_earlier_secrets() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    DELETE FROM exchange_secrets
    WHERE user_id = NEW.user_id AND exchange_account_id = NEW.exchange_account_id AND version < NEW.version;
    RETURN NULL;
END
$$;
CREATE TRIGGER destroy_earlier_secrets AFTER INSERT ON exchange_secrets
    FOR EACH ROW EXECUTE FUNCTION destroy_earlier_secrets();

-- When each account is checked next. Claimed across tenants: a claim moves `due_at` ahead, so that a check whose
-- process died is repeated, and one that runs is not.
CREATE TABLE exchange_account_checks (
    user_id bigint NOT NULL,
    exchange_account_id uuid NOT NULL,
    environment text NOT NULL,
    due_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, exchange_account_id),
    FOREIGN KEY (user_id, exchange_account_id)
        REFERENCES exchange_accounts (user_id, exchange_account_id) ON DELETE CASCADE
);
CREATE INDEX exchange_account_checks_due ON exchange_account_checks (due_at);
CALL tenant_table('exchange_account_checks', app => 'INSERT', worker => 'SELECT, UPDATE', queue => 'SELECT, UPDATE');

-- Immutable: who accepted which version of the risk notice, and when.
CREATE TABLE risk_notice_acceptances (
    user_id bigint NOT NULL,
    version integer NOT NULL,
    accepted_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, version)
);
CALL tenant_table('risk_notice_acceptances', app => 'SELECT, INSERT', worker => 'SELECT');

-- The account that a live session trades on. The session outlives it.
ALTER TABLE user_trading_sessions
    ADD COLUMN exchange_account_id uuid,
    ADD FOREIGN KEY (user_id, exchange_account_id)
        REFERENCES exchange_accounts (user_id, exchange_account_id) ON DELETE SET NULL (exchange_account_id);
CREATE INDEX sessions_of_account ON user_trading_sessions (user_id, exchange_account_id)
    WHERE exchange_account_id IS NOT NULL;

CREATE TABLE exchange_uid_locator (
    uid_sha256 bytea PRIMARY KEY CHECK (length(uid_sha256) = 32),
    user_id bigint NOT NULL
);

-- Whose exchange account this is. With `claim`, the first to claim it owns it, until it releases it; a caller may claim
-- and release for a tenant it has set only. After a release, NULL.
CREATE FUNCTION locate_exchange_uid(
    environment text, exchange_uid text, claim bigint DEFAULT NULL, release boolean DEFAULT false
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    hashed bytea := sha256(convert_to(environment || ':' || exchange_uid, 'UTF8'));
    owner bigint;
BEGIN
    IF claim IS NOT NULL THEN
        IF claim IS DISTINCT FROM nullif(current_setting('app.user_id', true), '')::bigint
           AND NOT claim = ANY (coalesce(string_to_array(nullif(current_setting('app.user_ids', true), ''), ',')::bigint[], '{}')) THEN
            RAISE EXCEPTION 'an exchange account can be claimed for the current tenant only' USING ERRCODE = 'insufficient_privilege';
        END IF;
        IF release THEN
            DELETE FROM exchange_uid_locator WHERE uid_sha256 = hashed AND user_id = claim;
        ELSE
            INSERT INTO exchange_uid_locator VALUES (hashed, claim) ON CONFLICT DO NOTHING;
        END IF;
    END IF;
    SELECT user_id INTO owner FROM exchange_uid_locator WHERE uid_sha256 = hashed;
    RETURN owner;
END
$$;

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION locate_exchange_uid SET search_path = %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION destroy_earlier_secrets SET search_path = %I, pg_temp', current_schema());
    REVOKE ALL ON FUNCTION locate_exchange_uid, destroy_earlier_secrets FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION locate_exchange_uid TO trading_app, trading_worker;
END
$$;

-- migrate:down
