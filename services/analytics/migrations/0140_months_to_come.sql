-- migrate:up
-- A partition is made for a month that may come, not for each of the next two centuries; a made-up market runs ahead
-- of the clock, by months a day.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

CREATE OR REPLACE FUNCTION prepare_analysis_month(moment timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = analytics, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    month timestamp := date_trunc('month', moment AT TIME ZONE 'UTC');
    partition text := 'user_market_analysis_' || to_char(month, 'YYYY_MM');
BEGIN
    IF moment IS NULL OR moment < '2009-01-01Z' OR moment >= now() + interval '50 years' THEN
        RAISE EXCEPTION 'no candle is of %', moment USING ERRCODE = 'datetime_field_overflow';
    END IF;
    IF to_regclass(partition) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('user_market_analysis'));
    IF to_regclass(partition) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE user_market_analysis INCLUDING ALL)', partition);
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', partition);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', partition);
    EXECUTE format('ALTER TABLE user_market_analysis ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   partition, month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
END
$$;

-- migrate:down
