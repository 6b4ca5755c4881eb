-- migrate:up
-- Sessions, and what came of them.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- The open of the bar that was announced last: a stop closes at it.
ALTER TABLE series ADD COLUMN opened_time timestamptz, ADD COLUMN opened_price numeric CHECK (opened_price <> 'NaN');

CREATE TABLE user_trading_sessions (
    user_id bigint NOT NULL,
    session_id uuid NOT NULL,
    public_id uuid NOT NULL,
    strategy_id uuid NOT NULL,
    strategy_version integer NOT NULL,
    strategy_hash text NOT NULL,
    bot_configuration_id uuid,
    venue text NOT NULL,
    symbol text NOT NULL,
    interval text NOT NULL,
    generation integer,
    strategy_config jsonb NOT NULL,
    is_paper_trading boolean NOT NULL,
    status text NOT NULL DEFAULT 'ACTIVE' CHECK (status IN ('ACTIVE', 'PAUSED', 'STOPPED')),
    stop_reason text,
    notes text,
    start_time timestamptz NOT NULL,
    end_time timestamptz,
    ended_at timestamptz,
    initial_balance numeric NOT NULL CHECK (initial_balance <> 'NaN' AND initial_balance > 0),
    final_balance numeric CHECK (final_balance <> 'NaN'),
    fee_rate numeric NOT NULL CHECK (fee_rate <> 'NaN'),
    slippage numeric NOT NULL CHECK (slippage <> 'NaN'),
    tick_size numeric CHECK (tick_size <> 'NaN'),
    qty_step numeric CHECK (qty_step <> 'NaN'),
    min_order_qty numeric CHECK (min_order_qty <> 'NaN'),
    min_notional numeric CHECK (min_notional <> 'NaN'),
    total_trades integer NOT NULL DEFAULT 0,
    winning_trades integer NOT NULL DEFAULT 0,
    losing_trades integer NOT NULL DEFAULT 0,
    total_pnl numeric NOT NULL DEFAULT 0 CHECK (total_pnl <> 'NaN'),
    highest_equity numeric NOT NULL CHECK (highest_equity <> 'NaN'),
    max_drawdown numeric NOT NULL DEFAULT 0 CHECK (max_drawdown <> 'NaN'),
    first_bar timestamptz,
    last_bar timestamptz,
    snapshot jsonb,
    fill_count integer NOT NULL DEFAULT 0,
    event_seq bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, session_id),
    FOREIGN KEY (user_id, strategy_id, strategy_version)
        REFERENCES strategy_versions (user_id, strategy_id, version),
    FOREIGN KEY (user_id, bot_configuration_id)
        REFERENCES user_bot_configurations (user_id, bot_configuration_id)
        ON DELETE SET NULL (bot_configuration_id)
) WITH (fillfactor = 70);
CREATE INDEX sessions_of_user ON user_trading_sessions (user_id, created_at, session_id);
CREATE INDEX running_sessions ON user_trading_sessions (user_id, session_id) WHERE status <> 'STOPPED';
CALL tenant_table('user_trading_sessions', app => 'SELECT, INSERT, UPDATE', worker => 'SELECT, UPDATE');
CALL keep_updated_at('user_trading_sessions');

-- Which worker steps a session. Claimed across tenants; each claim raises the epoch that every write carries.
CREATE TABLE session_leases (
    user_id bigint NOT NULL,
    session_id uuid NOT NULL,
    worker text,
    epoch bigint NOT NULL DEFAULT 0,
    expires_at timestamptz,
    entries text NOT NULL DEFAULT 'ALLOWED' CHECK (entries IN ('ALLOWED', 'PAUSED', 'PLAN_LIMIT')),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, session_id),
    FOREIGN KEY (user_id, session_id) REFERENCES user_trading_sessions (user_id, session_id)
) WITH (fillfactor = 70);
CREATE INDEX leases_by_worker ON session_leases (worker, expires_at);
CALL tenant_table('session_leases', app => 'SELECT, INSERT, UPDATE, DELETE', worker => 'SELECT, UPDATE',
                  queue => 'SELECT, UPDATE');

CREATE TABLE workers (
    worker text PRIMARY KEY,
    expires_at timestamptz NOT NULL
);

-- One row per round trip, derived from the fills.
CREATE TABLE user_trades (
    user_id bigint NOT NULL,
    trade_id uuid NOT NULL,
    session_id uuid NOT NULL,
    strategy_id uuid NOT NULL,
    strategy_hash text NOT NULL,
    symbol text NOT NULL,
    side text NOT NULL CHECK (side IN ('LONG', 'SHORT')),
    status text NOT NULL CHECK (status IN ('OPEN', 'CLOSED', 'CANCELLED')),
    entry_time timestamptz NOT NULL,
    exit_time timestamptz,
    entry_price numeric NOT NULL CHECK (entry_price <> 'NaN'),
    exit_price numeric CHECK (exit_price <> 'NaN'),
    quantity numeric NOT NULL CHECK (quantity <> 'NaN'),
    gross_pnl numeric CHECK (gross_pnl <> 'NaN'),
    pnl numeric CHECK (pnl <> 'NaN'),
    fee numeric NOT NULL DEFAULT 0 CHECK (fee <> 'NaN'),
    pnl_percentage numeric CHECK (pnl_percentage <> 'NaN'),
    strategy_signal text,
    notes text,
    bybit_order_id text,
    external_trade_id text,
    is_paper_trade boolean NOT NULL,
    late boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, trade_id),
    UNIQUE (user_id, session_id, entry_time),
    FOREIGN KEY (user_id, session_id) REFERENCES user_trading_sessions (user_id, session_id)
);
CREATE INDEX trades_of_user ON user_trades (user_id, entry_time, trade_id);
CREATE INDEX trades_of_session ON user_trades (user_id, session_id, entry_time);
CREATE INDEX trades_of_strategy ON user_trades (user_id, strategy_id) WHERE status = 'CLOSED';
CREATE UNIQUE INDEX one_open_trade ON user_trades (user_id, session_id) WHERE status = 'OPEN';
CALL tenant_table('user_trades', app => 'SELECT, INSERT, UPDATE', worker => 'SELECT');
CALL keep_updated_at('user_trades');

-- Why it traded. Values are the indicators' at the decision bar.
CREATE TABLE decisions (
    user_id bigint NOT NULL,
    decision_id uuid NOT NULL,
    session_id uuid NOT NULL,
    time timestamptz NOT NULL,
    kind text NOT NULL CHECK (kind IN ('entry', 'exit')),
    side text NOT NULL CHECK (side IN ('LONG', 'SHORT')),
    reason text NOT NULL,
    qty numeric CHECK (qty <> 'NaN'),
    outcome text NOT NULL,
    refusal text,
    values jsonb NOT NULL,
    checks jsonb NOT NULL,
    strategy_hash text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, decision_id),
    UNIQUE (user_id, session_id, time, kind),
    FOREIGN KEY (user_id, session_id) REFERENCES user_trading_sessions (user_id, session_id)
);
CALL tenant_table('decisions', app => 'SELECT, INSERT', worker => 'SELECT');

CREATE TABLE fills (
    user_id bigint NOT NULL,
    session_id uuid NOT NULL,
    fill_number integer NOT NULL,
    trade_id uuid NOT NULL,
    decision_id uuid,
    time timestamptz NOT NULL,
    action text NOT NULL CHECK (action IN ('open', 'close')),
    side text NOT NULL CHECK (side IN ('LONG', 'SHORT')),
    qty numeric NOT NULL CHECK (qty <> 'NaN'),
    price numeric NOT NULL CHECK (price <> 'NaN'),
    fee numeric NOT NULL CHECK (fee <> 'NaN'),
    reason text NOT NULL,
    late boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (user_id, session_id, fill_number),
    FOREIGN KEY (user_id, session_id) REFERENCES user_trading_sessions (user_id, session_id),
    FOREIGN KEY (user_id, trade_id) REFERENCES user_trades (user_id, trade_id) DEFERRABLE INITIALLY DEFERRED,
    FOREIGN KEY (user_id, decision_id) REFERENCES decisions (user_id, decision_id)
);
CALL tenant_table('fills', app => 'SELECT, INSERT', worker => 'SELECT');

-- What held a session back, each with the bar from which it held: `first_bar` after the session's last bar then.
CREATE TABLE session_restrictions (
    user_id bigint NOT NULL,
    session_id uuid NOT NULL,
    restriction_number integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('PAUSED', 'RESUMED', 'PLAN_LIMIT', 'PLAN_LIMIT_LIFTED', 'STOPPED')),
    reason text,
    after_bar timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, session_id, restriction_number),
    FOREIGN KEY (user_id, session_id) REFERENCES user_trading_sessions (user_id, session_id)
);
CALL tenant_table('session_restrictions', app => 'SELECT, INSERT', worker => 'SELECT, INSERT');

DO $$
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON workers TO trading_queue;
END
$$;

-- migrate:down
