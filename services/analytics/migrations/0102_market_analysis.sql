-- migrate:up
-- Symbols that users watch, and a row per user, watched symbol and closed candle.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

CREATE TABLE watchlist (
    user_id bigint NOT NULL,
    watch_id uuid NOT NULL,
    symbol text NOT NULL,
    interval text NOT NULL,
    ema_period integer NOT NULL CHECK (ema_period BETWEEN 2 AND 500),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, watch_id),
    UNIQUE (user_id, symbol, interval, ema_period)
);
CALL tenant_table('watchlist', app => 'SELECT, INSERT, DELETE', worker => 'SELECT');

-- Partitioned by month. Reached through this table only: no role has a right on a partition.
CREATE TABLE user_market_analysis (
    user_id bigint NOT NULL,
    watch_id uuid NOT NULL,
    timestamp timestamptz NOT NULL,
    symbol text NOT NULL,
    interval text NOT NULL,
    price numeric NOT NULL CHECK (price <> 'NaN'),
    ema_value numeric CHECK (ema_value <> 'NaN'),
    ema_period integer NOT NULL,
    candles_above_ema integer,
    distance_from_ema numeric CHECK (distance_from_ema <> 'NaN'),
    trend_direction text CHECK (trend_direction IN ('UP', 'DOWN', 'FLAT')),
    volume numeric NOT NULL CHECK (volume <> 'NaN'),
    analysis_data jsonb NOT NULL DEFAULT '{}',
    user_notes text,
    is_watchlist boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, watch_id, timestamp)
) PARTITION BY RANGE (timestamp);
CREATE INDEX market_analysis_by_time ON user_market_analysis (user_id, timestamp, watch_id);
CALL tenant_table('user_market_analysis', app => 'SELECT', worker => 'SELECT, INSERT');

-- The partition of the month of `moment`, made by its owner if it is not there. Made apart and then attached,
-- which does not lock out those who read and write; protected by itself as well, though nobody is let near it.
CREATE FUNCTION prepare_analysis_month(moment timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    month timestamp := date_trunc('month', moment AT TIME ZONE 'UTC');
    partition text := 'user_market_analysis_' || to_char(month, 'YYYY_MM');
BEGIN
    IF moment < '2009-01-01Z' OR moment >= '2200-01-01Z' THEN
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

DO $$
DECLARE
    service text := current_schema();
BEGIN
    EXECUTE format('ALTER FUNCTION prepare_analysis_month SET search_path = %I, pg_temp', service);
    ALTER FUNCTION prepare_analysis_month SET lock_timeout = '5s';
    REVOKE ALL ON FUNCTION prepare_analysis_month FROM PUBLIC;
    EXECUTE format('GRANT EXECUTE ON FUNCTION prepare_analysis_month TO %I', service || '_worker');
END
$$;

-- migrate:down
