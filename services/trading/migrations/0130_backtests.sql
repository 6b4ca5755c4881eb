-- migrate:up
-- Backtests as a service: what is asked, the queue it waits in, and results, which answer the same question again.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- NULL = unlimited. What is here was heard before anybody asked for these two: the plans of the catalogue say them.
ALTER TABLE entitlements
    ADD COLUMN has_backtesting boolean NOT NULL DEFAULT false,
    ADD COLUMN max_backtests_per_day integer;
UPDATE entitlements SET has_backtesting = plan <> 'FREE',
       max_backtests_per_day = CASE plan WHEN 'FREE' THEN 0 WHEN 'PREMIUM' THEN 100 END;

-- How many were asked for on a day of UTC. Counted by itself: what is forgotten later was asked for all the same.
CREATE TABLE backtest_days (
    user_id bigint NOT NULL,
    day date NOT NULL,
    used integer NOT NULL,
    PRIMARY KEY (user_id, day)
);
CALL tenant_table('backtest_days', app => 'SELECT, INSERT, UPDATE, DELETE', worker => '');

-- What came of a question. `question_sha256` is of all that it follows from, the evaluator's version among it.
CREATE TABLE backtest_results (
    user_id bigint NOT NULL,
    result_id uuid NOT NULL,
    question_sha256 bytea NOT NULL,
    fingerprint text NOT NULL,
    final_equity numeric NOT NULL CHECK (final_equity <> 'NaN'),
    fills integer NOT NULL,
    trades integer NOT NULL,
    missing_bars integer NOT NULL,
    first_decision timestamptz,
    metrics jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    asked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, result_id),
    UNIQUE (user_id, question_sha256)
);
CREATE INDEX backtest_results_by_age ON backtest_results (asked_at);
CALL tenant_table('backtest_results', app => 'SELECT, INSERT, UPDATE', worker => '');

CREATE TABLE backtest_fills (
    user_id bigint NOT NULL,
    result_id uuid NOT NULL,
    fill_number integer NOT NULL,
    time timestamptz NOT NULL,
    action text NOT NULL CHECK (action IN ('open', 'close')),
    side text NOT NULL CHECK (side IN ('LONG', 'SHORT')),
    qty numeric NOT NULL CHECK (qty <> 'NaN'),
    price numeric NOT NULL CHECK (price <> 'NaN'),
    fee numeric NOT NULL CHECK (fee <> 'NaN'),
    reason text NOT NULL,
    PRIMARY KEY (user_id, result_id, fill_number),
    FOREIGN KEY (user_id, result_id) REFERENCES backtest_results (user_id, result_id) ON DELETE CASCADE
);
CALL tenant_table('backtest_fills', app => 'SELECT, INSERT', worker => '');

CREATE TABLE backtest_trades (
    user_id bigint NOT NULL,
    result_id uuid NOT NULL,
    trade_number integer NOT NULL,
    side text NOT NULL CHECK (side IN ('LONG', 'SHORT')),
    entry_time timestamptz NOT NULL,
    exit_time timestamptz NOT NULL,
    entry_price numeric NOT NULL CHECK (entry_price <> 'NaN'),
    exit_price numeric NOT NULL CHECK (exit_price <> 'NaN'),
    quantity numeric NOT NULL CHECK (quantity <> 'NaN'),
    gross_pnl numeric NOT NULL CHECK (gross_pnl <> 'NaN'),
    fee numeric NOT NULL CHECK (fee <> 'NaN'),
    pnl numeric NOT NULL CHECK (pnl <> 'NaN'),
    pnl_percentage numeric NOT NULL CHECK (pnl_percentage <> 'NaN'),
    reason text NOT NULL,
    bars integer NOT NULL,
    PRIMARY KEY (user_id, result_id, trade_number),
    FOREIGN KEY (user_id, result_id) REFERENCES backtest_results (user_id, result_id) ON DELETE CASCADE
);
CALL tenant_table('backtest_trades', app => 'SELECT, INSERT', worker => '');

-- What was asked, with the instrument's terms as they were then and the bars that there were.
CREATE TABLE backtests (
    user_id bigint NOT NULL,
    backtest_id uuid NOT NULL,
    strategy_id uuid NOT NULL,
    strategy_version integer NOT NULL,
    strategy_hash text NOT NULL,
    venue text NOT NULL,
    symbol text NOT NULL,
    interval text NOT NULL,
    generation integer NOT NULL,
    from_time timestamptz NOT NULL,
    to_time timestamptz NOT NULL,
    last_bar timestamptz NOT NULL,
    bars integer NOT NULL,
    fee_rate numeric NOT NULL CHECK (fee_rate <> 'NaN'),
    slippage numeric NOT NULL CHECK (slippage <> 'NaN'),
    initial_balance numeric NOT NULL CHECK (initial_balance <> 'NaN' AND initial_balance > 0),
    tick_size numeric NOT NULL CHECK (tick_size <> 'NaN'),
    qty_step numeric NOT NULL CHECK (qty_step <> 'NaN'),
    min_order_qty numeric NOT NULL CHECK (min_order_qty <> 'NaN'),
    min_notional numeric NOT NULL CHECK (min_notional <> 'NaN'),
    status text NOT NULL CHECK (status IN ('QUEUED', 'RUNNING', 'DONE', 'FAILED', 'CANCELLED')),
    failure_reason text,
    result_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    ended_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, backtest_id),
    FOREIGN KEY (user_id, strategy_id, strategy_version)
        REFERENCES strategy_versions (user_id, strategy_id, version),
    FOREIGN KEY (user_id, result_id) REFERENCES backtest_results (user_id, result_id)
);
CREATE INDEX backtests_of_user ON backtests (user_id, created_at, backtest_id);
CREATE INDEX backtests_of_result ON backtests (user_id, result_id) WHERE result_id IS NOT NULL;
CREATE INDEX backtests_by_end ON backtests (ended_at) WHERE ended_at IS NOT NULL;
CALL tenant_table('backtests', app => 'SELECT, INSERT, UPDATE', worker => '');
CALL keep_updated_at('backtests');

-- Who works on it. Claimed across tenants; each claim raises the epoch that what ends the job carries. A row stands
-- here as long as there is something to do.
CREATE TABLE backtest_jobs (
    user_id bigint NOT NULL,
    backtest_id uuid NOT NULL,
    worker text,
    epoch bigint NOT NULL DEFAULT 0,
    expires_at timestamptz,
    failures integer NOT NULL DEFAULT 0,
    failure_reason text,
    done integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (user_id, backtest_id),
    FOREIGN KEY (user_id, backtest_id) REFERENCES backtests (user_id, backtest_id)
) WITH (fillfactor = 70);
CREATE INDEX backtest_jobs_free ON backtest_jobs (user_id, created_at, backtest_id) WHERE worker IS NULL;
CREATE INDEX backtest_jobs_held ON backtest_jobs (worker) WHERE worker IS NOT NULL;
CALL tenant_table('backtest_jobs', app => 'SELECT, INSERT, UPDATE, DELETE', worker => '', queue => 'SELECT, UPDATE');

-- When each tenant's turn was last: whoever has waited longest is next, however many jobs others have.
CREATE TABLE backtest_turns (
    user_id bigint PRIMARY KEY,
    turn_at timestamptz NOT NULL
);
CALL tenant_table('backtest_turns', app => '', worker => '', queue => 'SELECT, INSERT, UPDATE, DELETE');

-- Those that ended long ago, so many at once, and results that nobody has asked for since; how many went.
CREATE FUNCTION forget_backtests(before timestamptz, most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    gone bigint;
BEGIN
    DELETE FROM backtests WHERE (user_id, backtest_id) IN (
        SELECT user_id, backtest_id FROM backtests WHERE ended_at < before
        ORDER BY ended_at LIMIT most FOR UPDATE SKIP LOCKED
    );
    GET DIAGNOSTICS gone = ROW_COUNT;
    DELETE FROM backtest_results r WHERE asked_at < before AND (user_id, result_id) IN (
        SELECT user_id, result_id FROM backtest_results o WHERE asked_at < before AND NOT EXISTS (
            SELECT FROM backtests b WHERE b.user_id = o.user_id AND b.result_id = o.result_id)
        ORDER BY asked_at LIMIT most FOR UPDATE SKIP LOCKED
    );
    RETURN gone;
END
$$;

DO $$
BEGIN
    ALTER FUNCTION forget_backtests SET search_path = trading, pg_temp;
    REVOKE ALL ON FUNCTION forget_backtests FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION forget_backtests TO trading_queue;
END
$$;

-- migrate:down
