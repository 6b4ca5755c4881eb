-- migrate:up
-- One round trip to claim a key: try to lock it, then look for its answer. A volatile function takes a new snapshot for
-- each of its statements, so an answer committed just before the lock was taken is found.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

CREATE FUNCTION claim_idempotency_key(wanted text)
RETURNS TABLE (claimed boolean, request_sha256 bytea, status smallint, location text, body text)
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    claimed := try_lock_idempotency_key(wanted);
    SELECT k.request_sha256, k.status, k.location, k.body INTO request_sha256, status, location, body
    FROM idempotency_keys k
    WHERE k.user_id = nullif(current_setting('app.user_id', true), '')::bigint AND k.key = wanted;
    RETURN NEXT;
END
$$;

DO $$
DECLARE
    service text := current_schema();
BEGIN
    REVOKE ALL ON FUNCTION claim_idempotency_key FROM PUBLIC;
    EXECUTE format('GRANT EXECUTE ON FUNCTION claim_idempotency_key TO %I', service || '_app');
END
$$;

-- migrate:down
