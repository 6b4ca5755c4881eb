-- Schemas and login roles of the five services. Run by a superuser or a CREATEROLE owner, once per cluster
-- and again per database: every statement may be repeated. The operator sets passwords separately
-- (`ALTER ROLE ... PASSWORD`), so that no file holds a secret. `tradefleet_owner` must exist.
--
-- Per service three roles, none of them owner, superuser or BYPASSRLS:
--   <service>_app     serves requests; row-level security shows it the one tenant it set
--   <service>_worker  consumes; sees the tenants whose events are in its batch
--   <service>_queue   outbox, parked events, leases: across tenants, and nothing else
DO $$
DECLARE
    service text;
    role text;
BEGIN
    FOREACH service IN ARRAY ARRAY['auth', 'billing', 'trading', 'analytics', 'notifications'] LOOP
        EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION tradefleet_owner', service);
        FOREACH role IN ARRAY ARRAY[service || '_app', service || '_worker', service || '_queue'] LOOP
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
                EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT', role);
            END IF;
            EXECUTE format('ALTER ROLE %I SET search_path = %I', role, service);
            EXECUTE format('ALTER ROLE %I SET statement_timeout = %L', role, '30s');
            -- A relay that hangs or was frozen holds its bucket no longer than this.
            EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L', role,
                           CASE WHEN role LIKE '%\_queue' THEN '20s' ELSE '60s' END);
            -- A client frozen between the parts of a statement is not idle: only this timeout releases its locks.
            EXECUTE format('ALTER ROLE %I SET transaction_timeout = %L', role,
                           CASE WHEN role LIKE '%\_queue' THEN '35s' ELSE '90s' END);
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', service, role);
        END LOOP;
    END LOOP;
END
$$;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

-- A temporary table stands before every other of its name, and stays on its connection for the next borrower.
DO $$
BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END
$$;

-- Who may connect is named, to this database, and to those that are there from the start to none of the services'
-- roles: a database of its own kind would be a place to leave things in. Other users of a shared server who relied on
-- being PUBLIC there need a grant of their own.
DO $$
DECLARE
    service text;
    role text;
    other text;
BEGIN
    FOREACH service IN ARRAY ARRAY['auth', 'billing', 'trading', 'analytics', 'notifications'] LOOP
        FOREACH role IN ARRAY ARRAY[service || '_app', service || '_worker', service || '_queue'] LOOP
            EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role);
        END LOOP;
    END LOOP;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO tradefleet_owner', current_database());
    EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', current_database());
    FOR other IN SELECT datname FROM pg_database WHERE datname IN ('postgres', 'template1')
                 AND datname <> current_database() AND has_database_privilege('public', oid, 'CONNECT') LOOP
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO tradefleet_owner', other);
        EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', other);
    END LOOP;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'the other databases belong to somebody else: the roles of the services may connect to them';
END
$$;

-- What everybody may do on a fresh server and no service needs: large objects (rows without a tenant), advisory locks
-- (numbers that all roles share; the services take theirs through functions of their schemas), notifications and
-- messages of the log, whose queues all roles share too. `pg_advisory_unlock_all` frees one's own locks only, and
-- asyncpg calls it. Only a superuser can take these away.
DO $$
DECLARE
    function regprocedure;
BEGIN
    FOR function IN
        SELECT oid FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace AND has_function_privilege('public', oid, 'EXECUTE')
              AND (proname ~ '^(lo_|loread$|lowrite$)' OR proname ~ '^pg_(try_)?advisory_(?!unlock_all)'
                   OR proname IN ('pg_notify', 'pg_logical_emit_message'))
    LOOP
        IF function::text LIKE 'pg\_%advisory\_%' THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO tradefleet_owner', function);
        END IF;
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', function);
    END LOOP;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'functions of Postgres cannot be taken from PUBLIC here: roles may take advisory locks of others';
END
$$;

-- For oldest_transaction_seconds(), which shows a number and nothing else. Where it cannot be granted, the number
-- is of the owner's own sessions only.
DO $$
BEGIN
    GRANT pg_read_all_stats TO tradefleet_owner;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'pg_read_all_stats cannot be granted here: long transactions of other roles go unnoticed';
END
$$;
