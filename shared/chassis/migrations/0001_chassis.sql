-- migrate:up
-- What every service's schema holds: how a tenant's table is protected, and the queues of its events.
-- Run once per schema, with search_path set to it.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- Row-level security for one table. `app`, `worker` and `queue` are the grants of the service's three roles;
-- `queue` is for tables that must be seen across tenants (outbox, parked events, leases) and empty otherwise.
CREATE PROCEDURE tenant_table(tenant_table text, app text, worker text, queue text DEFAULT '')
LANGUAGE plpgsql AS $$
DECLARE
    service text := current_schema();
    one_tenant text := '(SELECT nullif(current_setting(''app.user_id'', true), '''')::bigint)';
    many_tenants text := '(SELECT string_to_array(nullif(current_setting(''app.user_ids'', true), ''''), '','')::bigint[])::bigint[]';
BEGIN
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', tenant_table);
    IF app <> '' THEN
        EXECUTE format('CREATE POLICY one_tenant ON %I TO %I USING (user_id = %s) WITH CHECK (user_id = %s)',
                       tenant_table, service || '_app', one_tenant, one_tenant);
        EXECUTE format('GRANT %s ON %I TO %I', app, tenant_table, service || '_app');
    END IF;
    IF worker <> '' THEN
        EXECUTE format('CREATE POLICY tenants_of_batch ON %I TO %I USING (user_id = ANY (%s)) WITH CHECK (user_id = ANY (%s))',
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

CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE PROCEDURE keep_updated_at(kept_table text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER keep_updated_at BEFORE UPDATE ON %I FOR EACH ROW EXECUTE FUNCTION touch_updated_at()',
                   kept_table);
END
$$;

-- Says what happened. Written in the transaction in which it happened; the relay sends it on.
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY,
    user_id bigint NOT NULL,
    bucket smallint NOT NULL,
    event_id uuid NOT NULL,
    topic text NOT NULL,
    key text NOT NULL,
    headers jsonb NOT NULL,
    payload bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    dead_reason text,
    PRIMARY KEY (user_id, id)
);
CREATE INDEX outbox_unsent ON outbox (bucket, id) WHERE sent_at IS NULL AND dead_reason IS NULL;
CALL tenant_table('outbox', app => 'INSERT', worker => 'INSERT', queue => 'SELECT, INSERT, UPDATE, DELETE');

-- What was heard: an event has its effect in the transaction that writes its row here.
CREATE TABLE inbox (
    user_id bigint NOT NULL,
    consumer text NOT NULL,
    event_id uuid NOT NULL,
    body_sha256 bytea NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, consumer, event_id)
);
CALL tenant_table('inbox', app => '', worker => 'SELECT, INSERT');

-- Events that could not be worked, with every later one of their key behind them, in order of arrival.
CREATE TABLE parked (
    id bigint GENERATED ALWAYS AS IDENTITY,
    user_id bigint NOT NULL,
    consumer text NOT NULL,
    event_id uuid NOT NULL,
    topic text NOT NULL,
    key text NOT NULL,
    headers jsonb NOT NULL,
    payload bytea NOT NULL,
    kafka_partition integer NOT NULL,
    kafka_offset bigint NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    halted boolean NOT NULL DEFAULT false,
    reason text NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, id),
    UNIQUE (user_id, consumer, event_id)
);
CREATE INDEX parked_by_key ON parked (consumer, topic, key, id);
CALL tenant_table('parked', app => '', worker => 'SELECT, INSERT, UPDATE, DELETE', queue => 'SELECT, UPDATE');

-- Which series a tenant's session, watch or alert needs; the distinct ones are announced to the feed.
CREATE TABLE market_interests (
    user_id bigint NOT NULL,
    object_id uuid NOT NULL,
    symbol text NOT NULL,
    interval text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, object_id)
);
CREATE INDEX market_interests_by_series ON market_interests (symbol, interval);
CALL tenant_table('market_interests', app => 'SELECT, INSERT, DELETE', worker => 'SELECT, INSERT, DELETE', queue => 'SELECT');

CREATE TABLE published_interests (
    symbol text NOT NULL,
    interval text NOT NULL,
    wanted boolean NOT NULL,
    interest_version bigint NOT NULL,
    PRIMARY KEY (symbol, interval)
);

-- The one way from a public id to a user: a locator, reached through its function only.
CREATE TABLE user_locator (
    public_id_sha256 bytea PRIMARY KEY,
    user_id bigint NOT NULL
);

-- Whose public id this is. With `claim`, the first to claim it owns it; a caller may claim for a tenant it has set only.
CREATE FUNCTION locate_user(public_id uuid, claim bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    hashed bytea := sha256(uuid_send(public_id));
    owner bigint;
BEGIN
    IF claim IS NOT NULL THEN
        IF claim IS DISTINCT FROM nullif(current_setting('app.user_id', true), '')::bigint
           AND NOT claim = ANY (coalesce(string_to_array(nullif(current_setting('app.user_ids', true), ''), ',')::bigint[], '{}')) THEN
            RAISE EXCEPTION 'a public id can be claimed for the current tenant only' USING ERRCODE = 'insufficient_privilege';
        END IF;
        INSERT INTO user_locator VALUES (hashed, claim) ON CONFLICT DO NOTHING;
    END IF;
    SELECT user_id INTO owner FROM user_locator WHERE public_id_sha256 = hashed;
    RETURN owner;
END
$$;

DO $$
DECLARE
    service text := current_schema();
BEGIN
    EXECUTE format('ALTER FUNCTION locate_user SET search_path = %I, pg_temp', service);
    EXECUTE 'REVOKE ALL ON FUNCTION locate_user FROM PUBLIC';
    EXECUTE format('GRANT EXECUTE ON FUNCTION locate_user TO %I, %I', service || '_app', service || '_worker');
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON published_interests TO %I', service || '_queue');
END
$$;

-- migrate:down
