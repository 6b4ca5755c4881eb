-- migrate:up
-- How many at once is the function's to limit, not the caller's.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

CREATE OR REPLACE FUNCTION forget_idempotency_keys(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    gone bigint;
BEGIN
    DELETE FROM idempotency_keys WHERE (user_id, key) IN (
        SELECT user_id, key FROM idempotency_keys WHERE created_at < now() - interval '24 hours'
        ORDER BY created_at LIMIT least(greatest(coalesce(most, 0), 0), 10000) FOR UPDATE SKIP LOCKED
    );
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$$;

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION forget_idempotency_keys SET search_path = %I, pg_temp', current_schema());
END
$$;

-- migrate:down
