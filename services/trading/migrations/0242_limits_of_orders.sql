-- migrate:up
-- What stops entries: kill switches, the risk limits of an account, and the trades that the plan allows.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- Without a session: the whole tenant.
CREATE TABLE kill_switches (
    user_id bigint NOT NULL,
    kill_switch_id uuid NOT NULL,
    session_id uuid,
    flatten boolean NOT NULL,
    reason text,
    is_operators boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    lifted_at timestamptz,
    PRIMARY KEY (user_id, kill_switch_id),
    FOREIGN KEY (user_id, session_id) REFERENCES user_trading_sessions (user_id, session_id)
);
CREATE UNIQUE INDEX kill_switches_on ON kill_switches (user_id, session_id, is_operators) NULLS NOT DISTINCT
    WHERE lifted_at IS NULL;
CREATE INDEX kill_switches_of_user ON kill_switches (user_id, created_at, kill_switch_id);
CALL tenant_table('kill_switches', app => 'SELECT, INSERT, UPDATE', worker => 'SELECT');

-- Without a symbol: the whole platform. An operator switches them, as the owner.
CREATE TABLE platform_kill_switches (
    kill_switch_id uuid PRIMARY KEY,
    symbol text,
    flatten boolean NOT NULL,
    reason text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    lifted_at timestamptz
);
CREATE UNIQUE INDEX platform_kill_switches_on ON platform_kill_switches (symbol) NULLS NOT DISTINCT
    WHERE lifted_at IS NULL;
GRANT SELECT ON platform_kill_switches TO trading_app, trading_worker;

-- NULL limits nothing. Amounts are in the settle coin. `equity` is the wallet's, `highest_equity` its highest since
-- the settings were made or a person resumed. A breach stops entries of the account until a person resumes.
CREATE TABLE account_risk (
    user_id bigint NOT NULL,
    exchange_account_id uuid NOT NULL,
    max_daily_loss numeric CHECK (max_daily_loss <> 'NaN' AND max_daily_loss > 0),
    drawdown_pause_percentage numeric CHECK (drawdown_pause_percentage <> 'NaN' AND drawdown_pause_percentage > 0),
    max_open_notional numeric CHECK (max_open_notional <> 'NaN' AND max_open_notional > 0),
    max_positions integer CHECK (max_positions > 0),
    max_orders_per_minute integer CHECK (max_orders_per_minute > 0),
    equity numeric CHECK (equity <> 'NaN'),
    highest_equity numeric CHECK (highest_equity <> 'NaN'),
    breached_limit text,
    breached_at timestamptz,
    breached_allowed numeric CHECK (breached_allowed <> 'NaN'),
    breached_value numeric CHECK (breached_value <> 'NaN'),
    resumed_at timestamptz,
    revision integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, exchange_account_id),
    FOREIGN KEY (user_id, exchange_account_id)
        REFERENCES exchange_accounts (user_id, exchange_account_id) ON DELETE CASCADE
);
CALL tenant_table('account_risk', app => 'SELECT, INSERT, UPDATE', worker => 'SELECT, UPDATE');
CALL keep_updated_at('account_risk');

-- Entries of live sessions in a period of the plan.
ALTER TABLE entitlements ADD COLUMN period_start timestamptz;
CREATE TABLE live_entry_counts (
    user_id bigint NOT NULL,
    period_start timestamptz NOT NULL,
    entries integer NOT NULL CHECK (entries >= 0),
    PRIMARY KEY (user_id, period_start)
);
CALL tenant_table('live_entry_counts', app => 'SELECT, INSERT, UPDATE', worker => 'SELECT, INSERT, UPDATE');

-- migrate:down
