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

-- Partitioned by time. Reached through this table only: no role has a right on a partition.
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

-- What no month has a partition for: replays of the past, candles of a month not yet prepared.
CREATE TABLE user_market_analysis_other PARTITION OF user_market_analysis DEFAULT;
DO $$
DECLARE
    month date;
BEGIN
    FOR month IN SELECT generate_series(date '2026-01-01', date '2030-12-01', interval '1 month') LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF user_market_analysis FOR VALUES FROM (%L) TO (%L)',
                       'user_market_analysis_' || to_char(month, 'YYYY_MM'), month, (month + interval '1 month')::date);
    END LOOP;
END
$$;

-- migrate:down
