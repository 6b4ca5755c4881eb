-- migrate:up
-- The tenants of a batch are looked up in a hash table. As an array they became part of every index condition, so
-- Postgres sorted hundreds of tenants again for each row that a join looked up.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

CREATE OR REPLACE PROCEDURE tenant_table(tenant_table text, app text, worker text, queue text DEFAULT '')
LANGUAGE plpgsql AS $$
DECLARE
    service text := current_schema();
    one_tenant text := '(SELECT nullif(current_setting(''app.user_id'', true), '''')::bigint)';
    many_tenants text := '(SELECT unnest(string_to_array(nullif(current_setting(''app.user_ids'', true), ''''), '','')::bigint[]))';
BEGIN
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', tenant_table);
    IF app <> '' THEN
        EXECUTE format('CREATE POLICY one_tenant ON %I TO %I USING (user_id = %s) WITH CHECK (user_id = %s)',
                       tenant_table, service || '_app', one_tenant, one_tenant);
        EXECUTE format('GRANT %s ON %I TO %I', app, tenant_table, service || '_app');
    END IF;
    IF worker <> '' THEN
        EXECUTE format('CREATE POLICY tenants_of_batch ON %I TO %I USING (user_id IN %s) WITH CHECK (user_id IN %s)',
                       tenant_table, service || '_worker', many_tenants, many_tenants);
        EXECUTE format('GRANT %s ON %I TO %I', worker, tenant_table, service || '_worker');
    END IF;
    IF queue <> '' THEN
        EXECUTE format('CREATE POLICY queue ON %I TO %I USING (true) WITH CHECK (true)',
                       tenant_table, service || '_queue');
        EXECUTE format('GRANT %s ON %I TO %I', queue, tenant_table, service || '_queue');
    END IF;
END
$$;

DO $$
DECLARE
    many_tenants text := '(SELECT unnest(string_to_array(nullif(current_setting(''app.user_ids'', true), ''''), '','')::bigint[]))';
    existing text;
BEGIN
    FOR existing IN
        SELECT tablename FROM pg_policies WHERE schemaname = current_schema() AND policyname = 'tenants_of_batch'
    LOOP
        EXECUTE format('ALTER POLICY tenants_of_batch ON %I USING (user_id IN %s) WITH CHECK (user_id IN %s)',
                       existing, many_tenants, many_tenants);
    END LOOP;
END
$$;

-- migrate:down
