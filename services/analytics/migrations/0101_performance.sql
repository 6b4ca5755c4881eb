-- migrate:up
-- What came of it: facts as trading said them, and the days cut from them.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- Projection of user.registered: the zone in which days are cut. Its row is locked while a user's days are cut.
CREATE TABLE user_zones (
    user_id bigint PRIMARY KEY,
    timezone text NOT NULL DEFAULT 'UTC',
    updated_at timestamptz NOT NULL DEFAULT now()
);
CALL tenant_table('user_zones', app => 'SELECT', worker => 'SELECT, INSERT, UPDATE');
CALL keep_updated_at('user_zones');

-- started_at is NULL while only a later event of the session has been heard.
CREATE TABLE session_facts (
    user_id bigint NOT NULL,
    session_id uuid NOT NULL,
    mode text NOT NULL CHECK (mode IN ('PAPER', 'LIVE')),
    symbol text NOT NULL,
    initial_balance numeric NOT NULL CHECK (initial_balance <> 'NaN'),
    final_balance numeric CHECK (final_balance <> 'NaN'),
    started_at timestamptz,
    stopped_at timestamptz,
    PRIMARY KEY (user_id, session_id)
);
CREATE INDEX session_facts_by_time ON session_facts (user_id, mode, started_at);
CALL tenant_table('session_facts', app => 'SELECT', worker => 'SELECT, INSERT, UPDATE');

CREATE TABLE trade_facts (
    user_id bigint NOT NULL,
    trade_id uuid NOT NULL,
    session_id uuid NOT NULL,
    mode text NOT NULL CHECK (mode IN ('PAPER', 'LIVE')),
    symbol text NOT NULL,
    side text NOT NULL CHECK (side IN ('LONG', 'SHORT')),
    strategy_id uuid NOT NULL,
    strategy_name text NOT NULL,
    entry_time timestamptz NOT NULL,
    exit_time timestamptz NOT NULL,
    pnl numeric NOT NULL CHECK (pnl <> 'NaN'),
    fee numeric NOT NULL CHECK (fee <> 'NaN'),
    reason text NOT NULL,
    PRIMARY KEY (user_id, trade_id)
);
CREATE INDEX trade_facts_by_time ON trade_facts (user_id, mode, exit_time, trade_id);
CALL tenant_table('trade_facts', app => 'SELECT', worker => 'SELECT, INSERT');

CREATE TABLE user_daily_performance (
    user_id bigint NOT NULL,
    mode text NOT NULL CHECK (mode IN ('PAPER', 'LIVE')),
    date date NOT NULL,
    timezone text NOT NULL,
    starting_balance numeric NOT NULL CHECK (starting_balance <> 'NaN'),
    ending_balance numeric NOT NULL CHECK (ending_balance <> 'NaN'),
    daily_pnl numeric NOT NULL CHECK (daily_pnl <> 'NaN'),
    daily_pnl_percentage numeric CHECK (daily_pnl_percentage <> 'NaN'),
    total_trades integer NOT NULL,
    winning_trades integer NOT NULL,
    losing_trades integer NOT NULL,
    win_rate numeric CHECK (win_rate <> 'NaN'),
    max_drawdown numeric CHECK (max_drawdown <> 'NaN'),
    sharpe_ratio numeric CHECK (sharpe_ratio <> 'NaN'),
    volatility numeric CHECK (volatility <> 'NaN'),
    data jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, mode, date)
);
CREATE INDEX daily_performance_by_date ON user_daily_performance (user_id, date);
CALL tenant_table('user_daily_performance', app => 'SELECT', worker => 'SELECT, INSERT, UPDATE, DELETE');

-- migrate:down
