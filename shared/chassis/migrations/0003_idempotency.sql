-- migrate:up
-- What was answered to a request that made something, under the key that its client gave it: written in the
-- transaction that made it, so that a client who did not get the answer can ask again.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

CREATE TABLE idempotency_keys (
    user_id bigint NOT NULL,
    key text NOT NULL,
    request_sha256 bytea NOT NULL,
    status smallint NOT NULL,
    location text,
    body text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
CALL tenant_table('idempotency_keys', app => 'SELECT, INSERT', worker => '');

-- Keys older than a day, so many at once; how many went.
CREATE FUNCTION forget_idempotency_keys(most integer) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    gone bigint;
BEGIN
    DELETE FROM idempotency_keys WHERE (user_id, key) IN (
        SELECT user_id, key FROM idempotency_keys WHERE created_at < now() - interval '24 hours'
        ORDER BY created_at LIMIT most FOR UPDATE SKIP LOCKED
    );
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$$;

DO $$
DECLARE
    service text := current_schema();
BEGIN
    EXECUTE format('ALTER FUNCTION forget_idempotency_keys SET search_path = %I, pg_temp', service);
    REVOKE ALL ON FUNCTION forget_idempotency_keys FROM PUBLIC;
    EXECUTE format('GRANT EXECUTE ON FUNCTION forget_idempotency_keys TO %I', service || '_queue');
END
$$;

-- migrate:down
