-- migrate:up
-- Nothing that ended less than a day ago is forgotten, whatever the caller asks for, nor more than a thousand at once.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

CREATE OR REPLACE FUNCTION forget_backtests(before timestamptz, most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = trading, pg_temp AS $$
DECLARE
    -- least() passes over NULL
    latest timestamptz := least(before, now() - interval '1 day');
    at_once integer := CASE WHEN before IS NULL THEN 0 ELSE least(greatest(coalesce(most, 0), 0), 1000) END;
    gone bigint;
BEGIN
    DELETE FROM backtests WHERE (user_id, backtest_id) IN (
        SELECT user_id, backtest_id FROM backtests WHERE ended_at < latest
        ORDER BY ended_at LIMIT at_once FOR UPDATE SKIP LOCKED
    );
    GET DIAGNOSTICS gone = ROW_COUNT;
    DELETE FROM backtest_results r WHERE asked_at < latest AND (user_id, result_id) IN (
        SELECT user_id, result_id FROM backtest_results o WHERE asked_at < latest AND NOT EXISTS (
            SELECT FROM backtests b WHERE b.user_id = o.user_id AND b.result_id = o.result_id)
        ORDER BY asked_at LIMIT at_once FOR UPDATE SKIP LOCKED
    );
    RETURN gone;
END
$$;

-- migrate:down
