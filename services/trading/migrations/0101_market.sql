-- migrate:up
-- The market: nobody's rows, read by all. The feed writes them as trading_worker, without any tenant.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

CREATE TABLE instruments (
    venue text NOT NULL,
    symbol text NOT NULL,
    tick_size numeric NOT NULL CHECK (tick_size <> 'NaN' AND tick_size > 0),
    qty_step numeric NOT NULL CHECK (qty_step <> 'NaN' AND qty_step > 0),
    min_order_qty numeric NOT NULL CHECK (min_order_qty <> 'NaN' AND min_order_qty >= 0),
    min_notional numeric NOT NULL CHECK (min_notional <> 'NaN' AND min_notional >= 0),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (venue, symbol)
);

-- One per (venue, symbol, interval, generation); the anchor is the open time of its first bar.
CREATE TABLE series (
    series_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    venue text NOT NULL,
    symbol text NOT NULL,
    interval text NOT NULL,
    generation integer NOT NULL DEFAULT 1,
    anchor timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (venue, symbol, interval, generation)
);

-- Confirmed bars only. `announced`: the bar is said on candle.closed, or stands from before the series went live.
CREATE TABLE candles (
    series_id bigint NOT NULL REFERENCES series,
    open_time timestamptz NOT NULL,
    previous_open_time timestamptz,
    open numeric NOT NULL CHECK (open <> 'NaN'),
    high numeric NOT NULL CHECK (high <> 'NaN'),
    low numeric NOT NULL CHECK (low <> 'NaN'),
    close numeric NOT NULL CHECK (close <> 'NaN'),
    volume numeric NOT NULL CHECK (volume <> 'NaN'),
    origin text NOT NULL CHECK (origin IN ('HISTORY', 'STREAM')),
    announced_at timestamptz,
    PRIMARY KEY (series_id, open_time)
);
CREATE INDEX candles_unannounced ON candles (series_id, open_time) WHERE announced_at IS NULL AND origin = 'STREAM';

-- One feed leads, others stand by.
CREATE TABLE feed_lease (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    holder text NOT NULL,
    expires_at timestamptz NOT NULL
);

GRANT SELECT ON instruments, series, candles TO trading_app;
GRANT SELECT, INSERT, UPDATE ON instruments, series, candles, feed_lease TO trading_worker;

-- migrate:down
