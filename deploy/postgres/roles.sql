-- Schemas and login roles of the five services. Run by a superuser or a CREATEROLE owner, once per cluster
-- and again per database: every statement may be repeated. Passwords are set apart, by whoever runs this
-- (`ALTER ROLE ... PASSWORD`), so that no secret stands in a file. `tradefleet_owner` must exist.
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
            -- Who was frozen between the parts of a statement is not idle: only this ends what he holds.
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

-- For oldest_transaction_seconds(), which shows a number and nothing else. Where it cannot be granted, the number
-- is of the owner's own sessions only.
DO $$
BEGIN
    GRANT pg_read_all_stats TO tradefleet_owner;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'pg_read_all_stats cannot be granted here: long transactions of other roles go unnoticed';
END
$$;
