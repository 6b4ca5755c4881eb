-- migrate:up
-- What was done to what is a user's: append-only, each row with the hash of the row before it (domain/chain.py).
SET lock_timeout = '5s';
SET statement_timeout = '60s';

CREATE TABLE user_activity_log (
    user_id bigint NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    activity_id uuid NOT NULL,
    timestamp timestamptz NOT NULL,
    activity_type text NOT NULL,
    actor text NOT NULL CHECK (actor IN ('USER', 'API_KEY', 'ADMINISTRATOR', 'SYSTEM', 'UNKNOWN')),
    service text NOT NULL,
    ip_address inet,
    user_agent text,
    endpoint text NOT NULL,
    data jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    previous_hash bytea NOT NULL CHECK (length(previous_hash) = 32),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (user_id, seq),
    UNIQUE (user_id, activity_id)
);
COMMENT ON COLUMN user_activity_log.seq IS 'its place in the chain of its user, from 1 on';
CREATE INDEX user_activity_log_by_type ON user_activity_log (user_id, activity_type, seq);
CREATE INDEX user_activity_log_by_time ON user_activity_log (user_id, timestamp);
-- Nobody may change or remove a row, whoever he is.
CALL tenant_table('user_activity_log', app => 'SELECT', worker => 'SELECT, INSERT');

-- Where each chain ends, kept apart: without its last rows a chain is a whole one too.
CREATE TABLE user_activity_heads (
    user_id bigint PRIMARY KEY,
    entries bigint NOT NULL DEFAULT 0,
    hash bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (length(hash) = 32)
);
CALL tenant_table('user_activity_heads', app => '', worker => 'SELECT, INSERT, UPDATE');

-- How far a check of all chains has to go.
CREATE FUNCTION highest_user_id() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$
    SELECT greatest((SELECT max(user_id) FROM users), (SELECT max(user_id) FROM user_activity_heads),
                    (SELECT max(user_id) FROM user_activity_log), 0)
$$;

DO $$
DECLARE
    service text := current_schema();
BEGIN
    EXECUTE format('ALTER FUNCTION highest_user_id SET search_path = %I, pg_temp', service);
    EXECUTE 'REVOKE ALL ON FUNCTION highest_user_id FROM PUBLIC';
    EXECUTE format('GRANT EXECUTE ON FUNCTION highest_user_id TO %I', service || '_worker');
    EXECUTE format('GRANT EXECUTE ON FUNCTION locate_email TO %I', service || '_worker');
END
$$;

-- migrate:down
