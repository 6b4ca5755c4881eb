-- migrate:up
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- Months of the inbox that ended a year ago go at once; what was done of it is said. Waits for nobody's lock for long.
CREATE FUNCTION drop_inbox_months() RETURNS SETOF text LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    partition text;
BEGIN
    FOR partition IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'user_system_events'::regclass AND c.relname ~ '_\d{4}_\d\d$'
              AND to_date(right(c.relname, 7), 'YYYY_MM') + interval '13 months' <= now() AT TIME ZONE 'UTC'
        ORDER BY c.relname
    LOOP
        EXECUTE format('DROP TABLE %I', partition);
        RETURN NEXT 'dropped ' || partition;
    END LOOP;
END
$$;

-- The rest, so many rows of each at once; the most that went of one.
CREATE FUNCTION forget_notifications(most integer) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    gone bigint;
    highest bigint := 0;
BEGIN
    DELETE FROM deliveries WHERE (user_id, event_id, channel) IN (
        SELECT user_id, event_id, channel FROM deliveries WHERE created_at < now() - interval '12 months'
        ORDER BY created_at LIMIT most FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS gone = ROW_COUNT;
    highest := greatest(highest, gone);
    DELETE FROM alert_firings WHERE (user_id, alert_id, open_time) IN (
        SELECT user_id, alert_id, open_time FROM alert_firings WHERE created_at < now() - interval '12 months'
        ORDER BY created_at LIMIT most FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS gone = ROW_COUNT;
    highest := greatest(highest, gone);
    -- An event that comes later than this is new to the inbox of events as well.
    DELETE FROM inbox_minutes WHERE (user_id, event_type, minute) IN (
        SELECT user_id, event_type, minute FROM inbox_minutes WHERE updated_at < now() - interval '31 days'
        ORDER BY updated_at LIMIT most FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN greatest(highest, gone);
END
$$;

DO $$
DECLARE
    service text := current_schema();
BEGIN
    EXECUTE format('ALTER FUNCTION drop_inbox_months SET search_path = %I, pg_temp', service);
    ALTER FUNCTION drop_inbox_months SET lock_timeout = '1s';
    EXECUTE format('ALTER FUNCTION forget_notifications SET search_path = %I, pg_temp', service);
    REVOKE ALL ON FUNCTION drop_inbox_months, forget_notifications FROM PUBLIC;
    EXECUTE format('GRANT EXECUTE ON FUNCTION drop_inbox_months, forget_notifications TO %I', service || '_queue');
END
$$;

-- migrate:down
