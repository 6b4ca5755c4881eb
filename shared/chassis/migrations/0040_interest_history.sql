-- migrate:up
-- How many bars of history a wish needs, and which generation of the series it is on.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

ALTER TABLE market_interests
    ADD COLUMN history_bars integer NOT NULL DEFAULT 0 CHECK (history_bars >= 0),
    ADD COLUMN generation integer;
ALTER TABLE published_interests
    ADD COLUMN history_bars integer NOT NULL DEFAULT 0,
    ADD COLUMN generations integer[] NOT NULL DEFAULT '{}';

-- migrate:down
