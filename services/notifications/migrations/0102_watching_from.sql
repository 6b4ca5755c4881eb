-- migrate:up
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- An alert fires on what is said after it was made, switched on or given another condition.
ALTER TABLE user_alerts ADD COLUMN watched_from timestamptz NOT NULL DEFAULT now();
CREATE INDEX alerts_of_series ON user_alerts (user_id, symbol, interval) WHERE is_active;

-- The inbox gets a partition for a month when the first message of that month comes: reading does not have to
-- look through those of years to come.
DO $$
DECLARE
    partition regclass;
    filled boolean;
BEGIN
    FOR partition IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'user_system_events'::regclass LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', partition) INTO filled;
        IF NOT filled THEN
            EXECUTE format('DROP TABLE %s', partition);
        END IF;
    END LOOP;
END
$$;

-- The partition of the month of `moment`, made by its owner if it is not there. Made apart and then attached,
-- which does not lock out those who read and write; protected by itself as well, though nobody is let near it.
CREATE FUNCTION prepare_inbox_month(moment timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    month timestamp := date_trunc('month', moment AT TIME ZONE 'UTC');
    partition text := 'user_system_events_' || to_char(month, 'YYYY_MM');
BEGIN
    IF moment < '2020-01-01Z' OR moment >= '2200-01-01Z' THEN
        RAISE EXCEPTION 'nobody is told anything at %', moment USING ERRCODE = 'datetime_field_overflow';
    END IF;
    IF to_regclass(partition) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('user_system_events'));
    IF to_regclass(partition) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE user_system_events INCLUDING ALL)', partition);
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', partition);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', partition);
    EXECUTE format('ALTER TABLE user_system_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   partition, month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
END
$$;

DO $$
DECLARE
    service text := current_schema();
BEGIN
    EXECUTE format('ALTER FUNCTION prepare_inbox_month SET search_path = %I, pg_temp', service);
    ALTER FUNCTION prepare_inbox_month SET lock_timeout = '5s';
    REVOKE ALL ON FUNCTION prepare_inbox_month FROM PUBLIC;
    EXECUTE format('GRANT EXECUTE ON FUNCTION prepare_inbox_month TO %I', service || '_worker');
END
$$;

-- migrate:down
