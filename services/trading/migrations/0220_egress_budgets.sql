-- migrate:up
-- How many requests the processes were granted from each address, within the exchange's window. No tenant's rows: the
-- exchange limits the address, whoever the requests are for.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- `address`: the exchange's environment and the address from which we connect. `granted` per slot of time, of which
-- `newest_slot` is the last.
CREATE TABLE egress_budgets (
    address text PRIMARY KEY,
    granted integer[] NOT NULL,
    newest_slot bigint NOT NULL,
    blocked_until timestamptz
) WITH (fillfactor = 10); -- updated many times a second: all versions of a row on its page

DO $$
BEGIN
    GRANT SELECT, INSERT, UPDATE ON egress_budgets TO trading_queue;
END
$$;

-- migrate:down
