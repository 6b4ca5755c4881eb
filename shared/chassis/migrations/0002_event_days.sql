-- migrate:up
-- Outbox and inbox by day, so that what is old goes at once; what became of a parked event; which broker it is.
SET lock_timeout = '5s';
SET statement_timeout = '10min';

-- WAITING   tried again by the job, or behind an earlier one of its key
-- HALTED    the head of a key of a topic that halts: waits for a person
-- DEAD      given up on a topic that skips, or nobody's; its key goes on
-- DROPPED   let go by a person; its key goes on
ALTER TABLE parked ADD COLUMN state text NOT NULL DEFAULT 'WAITING'
    CHECK (state IN ('WAITING', 'HALTED', 'DEAD', 'DROPPED'));
UPDATE parked SET state = 'HALTED' WHERE halted;
ALTER TABLE parked DROP COLUMN halted;
DROP INDEX parked_by_key;
CREATE INDEX parked_by_key ON parked (consumer, topic, key, id) WHERE state IN ('WAITING', 'HALTED');

-- An event's id is a UUIDv7 and begins with its milliseconds, so a range of ids is a range of time, and the one
-- key says both that an event is new and in which day's partition it lies.
CREATE FUNCTION first_id_of(day date) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM day::timestamp AT TIME ZONE 'UTC') * 1000)::bigint), 12, '0')
            || '00000000000000000000')::uuid
$$;

-- The partition of a day, if it is not there: made apart and then attached, which locks nobody out; rows of that
-- day that came before it are moved into it.
CREATE FUNCTION make_event_day(parent text, day date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    partition text := parent || '_' || to_char(day, 'YYYY_MM_DD');
    from_id uuid := first_id_of(day);
    to_id uuid := first_id_of(day + 1);
BEGIN
    IF to_regclass(partition) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL EXCLUDING IDENTITY)', partition, parent);
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', partition);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', partition);
    EXECUTE format('WITH moved AS (DELETE FROM %I WHERE event_id >= %L AND event_id < %L RETURNING *)
                    INSERT INTO %I SELECT * FROM moved', parent || '_other', from_id, to_id, partition);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   parent, partition, from_id, to_id);
    RETURN true;
END
$$;

ALTER TABLE outbox RENAME TO outbox_before;
ALTER INDEX outbox_pkey RENAME TO outbox_before_pkey;
ALTER INDEX outbox_unsent RENAME TO outbox_before_unsent;
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
    dropped_at timestamptz,
    PRIMARY KEY (user_id, event_id)
) PARTITION BY RANGE (event_id);
CREATE INDEX outbox_unsent ON outbox (bucket, id) WHERE sent_at IS NULL AND dead_reason IS NULL;
CREATE INDEX outbox_dead ON outbox (topic, key, id) WHERE dead_reason IS NOT NULL AND dropped_at IS NULL;
CREATE TABLE outbox_other PARTITION OF outbox DEFAULT;
ALTER TABLE outbox_other ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbox_other FORCE ROW LEVEL SECURITY;
CALL tenant_table('outbox', app => 'INSERT', worker => 'INSERT', queue => 'SELECT, INSERT, UPDATE, DELETE');

ALTER TABLE inbox RENAME TO inbox_before;
ALTER INDEX inbox_pkey RENAME TO inbox_before_pkey;
CREATE TABLE inbox (
    user_id bigint NOT NULL,
    consumer text NOT NULL,
    event_id uuid NOT NULL,
    body_sha256 bytea NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, consumer, event_id)
) PARTITION BY RANGE (event_id);
CREATE TABLE inbox_other PARTITION OF inbox DEFAULT;
ALTER TABLE inbox_other ENABLE ROW LEVEL SECURITY;
ALTER TABLE inbox_other FORCE ROW LEVEL SECURITY;
CALL tenant_table('inbox', app => '', worker => 'SELECT, INSERT');

-- What is there moves into the days it belongs to.
DO $$
DECLARE
    day date;
BEGIN
    FOR day IN SELECT DISTINCT (received_at AT TIME ZONE 'UTC')::date FROM inbox_before
               UNION SELECT generate_series(current_date, current_date + 1, interval '1 day')::date LOOP
        PERFORM make_event_day('inbox', day);
    END LOOP;
    FOR day IN SELECT DISTINCT (created_at AT TIME ZONE 'UTC')::date FROM outbox_before
               UNION SELECT generate_series(current_date, current_date + 1, interval '1 day')::date LOOP
        PERFORM make_event_day('outbox', day);
    END LOOP;
END
$$;
INSERT INTO outbox (id, user_id, bucket, event_id, topic, key, headers, payload, created_at, sent_at, dead_reason)
OVERRIDING SYSTEM VALUE
SELECT id, user_id, bucket, event_id, topic, key, headers, payload, created_at, sent_at, dead_reason
FROM outbox_before;
INSERT INTO inbox SELECT * FROM inbox_before;
SELECT setval(pg_get_serial_sequence('outbox', 'id'), greatest((SELECT max(id) FROM outbox), 1));
DROP TABLE outbox_before;
DROP TABLE inbox_before;

-- What is kept: 7 days of the outbox (longer what waits or is dead), 30 of the inbox, 14 of what was given up.
-- Days ahead are made beforehand. Says what it did; called by a job, which waits for nobody's lock for long.
CREATE FUNCTION keep_event_days() RETURNS SETOF text LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    today date := (now() AT TIME ZONE 'UTC')::date;
    day date;
    parent text;
    partition text;
    kept interval;
    needed boolean;
    gone bigint;
BEGIN
    FOREACH parent IN ARRAY ARRAY['outbox', 'inbox'] LOOP
        kept := CASE parent WHEN 'outbox' THEN interval '7 days' ELSE interval '30 days' END;
        FOR day IN SELECT generate_series(today, today + 1, interval '1 day') LOOP
            IF make_event_day(parent, day) THEN
                RETURN NEXT format('made %s of %s', parent, day);
            END IF;
        END LOOP;
        FOR partition, day IN
            SELECT c.relname, to_date(right(c.relname, 10), 'YYYY_MM_DD')
            FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = parent::regclass AND c.relname ~ '_\d{4}_\d\d_\d\d$' ORDER BY c.relname
        LOOP
            CONTINUE WHEN day >= today - kept;
            IF parent = 'outbox' THEN
                EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE sent_at IS NULL AND dropped_at IS NULL
                                               AND (dead_reason IS NULL OR created_at > now() - interval ''14 days''))',
                               partition) INTO needed;
                CONTINUE WHEN needed;
            END IF;
            EXECUTE format('DROP TABLE %I', partition);
            RETURN NEXT format('dropped %s of %s', parent, day);
        END LOOP;
    END LOOP;
    DELETE FROM outbox_other WHERE created_at < now() - interval '7 days'
        AND (sent_at IS NOT NULL OR dropped_at IS NOT NULL OR created_at < now() - interval '14 days' AND dead_reason IS NOT NULL);
    DELETE FROM inbox_other WHERE received_at < now() - interval '30 days';
    DELETE FROM parked WHERE state IN ('DEAD', 'DROPPED') AND parked_at < now() - interval '14 days';
    GET DIAGNOSTICS gone = ROW_COUNT;
    IF gone > 0 THEN
        RETURN NEXT format('removed %s parked', gone);
    END IF;
END
$$;

-- How long the oldest transaction of this database has been open: it keeps dead rows from being removed.
CREATE FUNCTION oldest_transaction_seconds() RETURNS double precision LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT coalesce(max(extract(epoch FROM now() - xact_start)), 0) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend'
          AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL)
$$;

-- The Kafka cluster that this service's rows were sent to. One that was emptied or replaced has another id.
CREATE TABLE event_broker (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    cluster_id text NOT NULL,
    replays integer NOT NULL DEFAULT 0,
    noted_at timestamptz NOT NULL DEFAULT now()
);

-- Up to which cluster and replay a group's offsets of a partition can be trusted; if not, it is read from its start.
CREATE TABLE read_positions (
    consumer text NOT NULL,
    topic text NOT NULL,
    kafka_partition integer NOT NULL,
    cluster_id text NOT NULL,
    replays integer NOT NULL,
    PRIMARY KEY (consumer, topic, kafka_partition)
);

DO $$
DECLARE
    service text := current_schema();
BEGIN
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON event_broker, read_positions TO %I', service || '_queue');
    EXECUTE format('ALTER FUNCTION keep_event_days SET search_path = %I, pg_temp', service);
    ALTER FUNCTION keep_event_days SET lock_timeout = '1s';
    EXECUTE format('ALTER FUNCTION make_event_day SET search_path = %I, pg_temp', service);
    EXECUTE format('ALTER FUNCTION first_id_of SET search_path = %I, pg_temp', service);
    EXECUTE format('ALTER FUNCTION oldest_transaction_seconds SET search_path = %I, pg_temp', service);
    REVOKE ALL ON FUNCTION keep_event_days, make_event_day, first_id_of, oldest_transaction_seconds FROM PUBLIC;
    EXECUTE format('GRANT EXECUTE ON FUNCTION keep_event_days, oldest_transaction_seconds TO %I', service || '_queue');
END
$$;

-- migrate:down
