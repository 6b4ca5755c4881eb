-- migrate:up
-- Advisory locks are numbers that all roles of the database share: one service could hold what another waits for. The
-- login roles may not take any (deploy/postgres/roles.sql); these functions take those that a service needs, under
-- numbers that begin with its schema.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- Until the transaction ends; whether it is held. With `wait`, when it is free.
CREATE FUNCTION lock_outbox_bucket(bucket integer, wait boolean DEFAULT false) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF bucket IS NULL OR bucket NOT BETWEEN 0 AND 255 THEN
        RAISE EXCEPTION 'there is no bucket %', bucket USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF wait THEN
        PERFORM pg_advisory_xact_lock(hashtext(current_schema() || '.outbox'), bucket);
        RETURN true;
    END IF;
    RETURN pg_try_advisory_xact_lock(hashtext(current_schema() || '.outbox'), bucket);
END
$$;

-- Of the current tenant, until the transaction ends; whether it is held.
CREATE FUNCTION try_lock_idempotency_key(key text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    tenant bigint := nullif(current_setting('app.user_id', true), '')::bigint;
BEGIN
    IF tenant IS NULL OR key IS NULL THEN
        RAISE EXCEPTION 'a key is locked for a tenant' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN pg_try_advisory_xact_lock(hashtext(current_schema() || '.idempotency_keys'),
                                     hashtext(tenant::text || '.' || key));
END
$$;

-- Until the transaction ends nobody else of this service holds `what` for the current tenant.
CREATE FUNCTION lock_for_tenant(what text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    tenant bigint := nullif(current_setting('app.user_id', true), '')::bigint;
BEGIN
    IF tenant IS NULL OR what IS NULL THEN
        RAISE EXCEPTION 'something is locked for a tenant' USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext(current_schema() || '.tenant.' || what), hashint8(tenant));
END
$$;

DO $$
DECLARE
    service text := current_schema();
BEGIN
    EXECUTE format('ALTER FUNCTION lock_for_tenant SET search_path = %I, pg_temp', service);
    REVOKE ALL ON FUNCTION lock_for_tenant FROM PUBLIC;
    EXECUTE format('GRANT EXECUTE ON FUNCTION lock_for_tenant TO %I', service || '_app');
    EXECUTE format('ALTER FUNCTION lock_outbox_bucket SET search_path = %I, pg_temp', service);
    EXECUTE format('ALTER FUNCTION try_lock_idempotency_key SET search_path = %I, pg_temp', service);
    REVOKE ALL ON FUNCTION lock_outbox_bucket, try_lock_idempotency_key FROM PUBLIC;
    EXECUTE format('GRANT EXECUTE ON FUNCTION lock_outbox_bucket TO %I', service || '_queue');
    EXECUTE format('GRANT EXECUTE ON FUNCTION try_lock_idempotency_key TO %I', service || '_app');
END
$$;

-- migrate:down
