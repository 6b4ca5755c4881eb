-- migrate:up
-- A strategy's life: revisions for those who edit, given up told from deactivated, sums from which the statistics
-- follow exactly, and what was published.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- `revision` rises with what its owner changes, not with what trades change.
ALTER TABLE user_strategies
    ADD COLUMN revision integer NOT NULL DEFAULT 1,
    ADD COLUMN deleted_at timestamptz,
    ADD COLUMN winning_trades integer NOT NULL DEFAULT 0,
    ADD COLUMN total_pnl numeric NOT NULL DEFAULT 0 CHECK (total_pnl <> 'NaN'),
    ADD COLUMN published_strategy_id uuid,
    ADD COLUMN published_version integer;
ALTER TABLE user_bot_configurations ADD COLUMN revision integer NOT NULL DEFAULT 1;

-- What was not active had been given up; there was no other way.
UPDATE user_strategies SET deleted_at = updated_at WHERE NOT is_active;

UPDATE user_strategies SET total_uses = closed.trades, winning_trades = closed.won, total_pnl = closed.pnl
FROM (SELECT user_id, strategy_id, count(*) AS trades, count(*) FILTER (WHERE pnl > 0) AS won, sum(pnl) AS pnl
      FROM user_trades WHERE status = 'CLOSED' GROUP BY user_id, strategy_id) AS closed
WHERE user_strategies.user_id = closed.user_id AND user_strategies.strategy_id = closed.strategy_id;

-- Nobody's rows: copies that never change, under the name their author chose to show.
CREATE TABLE published_strategies (
    published_strategy_id uuid PRIMARY KEY,
    display_name text NOT NULL,
    strategy_name text NOT NULL,
    document jsonb NOT NULL,
    content_hash text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX published_by_time ON published_strategies (created_at, published_strategy_id);

-- The one way to take a publication back: whether the current tenant has a strategy that it is of.
CREATE FUNCTION withdraw_publication(wanted uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    DELETE FROM published_strategies p USING user_strategies s
    WHERE p.published_strategy_id = wanted AND s.published_strategy_id = wanted
          AND s.user_id = nullif(current_setting('app.user_id', true), '')::bigint;
    RETURN FOUND;
END
$$;

DO $$
BEGIN
    GRANT SELECT, INSERT ON published_strategies TO trading_app;
    EXECUTE format('ALTER FUNCTION withdraw_publication SET search_path = %I, pg_temp', current_schema());
    REVOKE ALL ON FUNCTION withdraw_publication FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION withdraw_publication TO trading_app;
END
$$;

-- migrate:down
