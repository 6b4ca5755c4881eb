-- migrate:up
-- What a function of the owner does is bounded by itself, whatever its caller asks for.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

CREATE OR REPLACE FUNCTION prepare_inbox_month(moment timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = notifications, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    month timestamp := date_trunc('month', moment AT TIME ZONE 'UTC');
    partition text := 'user_system_events_' || to_char(month, 'YYYY_MM');
BEGIN
    IF moment IS NULL OR moment < '2020-01-01Z' OR moment >= now() + interval '50 years' THEN
        RAISE EXCEPTION 'no message is of %', moment USING ERRCODE = 'datetime_field_overflow';
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

CREATE OR REPLACE FUNCTION forget_notifications(most integer) RETURNS bigint 
LANGUAGE plpgsql SECURITY DEFINER SET search_path = notifications, pg_temp AS $$
DECLARE
    at_once integer := least(greatest(coalesce(most, 0), 0), 10000);
    gone bigint;
    highest bigint := 0;
BEGIN
    DELETE FROM deliveries WHERE (user_id, event_id, channel) IN (
        SELECT user_id, event_id, channel FROM deliveries WHERE created_at < now() - interval '12 months'
        ORDER BY created_at LIMIT at_once FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS gone = ROW_COUNT;
    highest := greatest(highest, gone);
    DELETE FROM alert_firings WHERE (user_id, alert_id, open_time) IN (
        SELECT user_id, alert_id, open_time FROM alert_firings WHERE created_at < now() - interval '12 months'
        ORDER BY created_at LIMIT at_once FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS gone = ROW_COUNT;
    highest := greatest(highest, gone);
    -- An event that comes later than this is new to the inbox of events as well.
    DELETE FROM inbox_minutes WHERE (user_id, event_type, minute) IN (
        SELECT user_id, event_type, minute FROM inbox_minutes WHERE updated_at < now() - interval '31 days'
        ORDER BY updated_at LIMIT at_once FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN greatest(highest, gone);
END
$$;

-- migrate:down
