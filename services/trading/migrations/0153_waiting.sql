-- migrate:up
-- What a running session waits for, while no bar comes a minute after it was expected; by the exchange's clock.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

ALTER TABLE session_leases
    ADD COLUMN waiting_for text CHECK (waiting_for IN ('history', 'first_bar', 'bar', 'feed')),
    ADD COLUMN waiting_since timestamptz,
    ADD COLUMN waiting_expected timestamptz;

-- migrate:down
