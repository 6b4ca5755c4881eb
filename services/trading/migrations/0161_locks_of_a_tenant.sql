-- migrate:up
-- What a tenant stores is counted under a lock of theirs. Login roles may take no advisory lock themselves.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- Until the transaction ends nobody else stores one for the current tenant.
CREATE FUNCTION lock_stored(kind text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = trading, pg_temp AS $$
DECLARE
    tenant bigint := nullif(current_setting('app.user_id', true), '')::bigint;
BEGIN
    IF tenant IS NULL THEN
        RAISE EXCEPTION 'what is stored is locked for a tenant' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF kind IS NULL OR kind NOT IN ('strategies', 'configurations') THEN
        RAISE EXCEPTION 'there is no %', kind USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('trading.' || kind), hashint8(tenant));
END
$$;
REVOKE ALL ON FUNCTION lock_stored FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lock_stored TO trading_app;

-- migrate:down
