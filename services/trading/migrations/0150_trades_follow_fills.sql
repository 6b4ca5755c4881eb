-- migrate:up
-- An open trade follows its fills: what is closed of it, the fees so far, and whether any fill was late.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- 0 of a trade that the previous release closed: what remains of a closed trade is 0 whatever stands here.
ALTER TABLE user_trades
    ADD COLUMN closed_quantity numeric NOT NULL DEFAULT 0 CHECK (closed_quantity <> 'NaN' AND closed_quantity >= 0);

UPDATE user_trades AS t SET closed_quantity = f.closed, fee = f.fee, late = f.late
FROM (SELECT user_id, trade_id, coalesce(sum(qty) FILTER (WHERE action = 'close'), 0) AS closed, sum(fee) AS fee,
             bool_or(late) AS late
      FROM fills GROUP BY user_id, trade_id) AS f
WHERE f.user_id = t.user_id AND f.trade_id = t.trade_id
      AND (t.closed_quantity, t.fee, t.late) IS DISTINCT FROM (f.closed, f.fee, f.late);

-- The unique (user_id, session_id, entry_time) serves the same queries.
DROP INDEX trades_of_session;

-- migrate:down
