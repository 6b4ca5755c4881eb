-- migrate:up
-- A series that holds too few bars for a strategy gets a new generation that begins earlier.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- Needs of up to so many bars are met, as far as the exchange has bars.
ALTER TABLE series ADD COLUMN reach integer NOT NULL DEFAULT 3000;

-- A session's worker notes the generation that it takes.
DO $$
BEGIN
    GRANT UPDATE ON market_interests TO trading_app;
END
$$;

-- migrate:down
