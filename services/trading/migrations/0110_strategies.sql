-- migrate:up
-- What a tenant may do, what he wants done, and within which limits.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- Projection of subscription.changed. NULL limit = unlimited.
CREATE TABLE entitlements (
    user_id bigint PRIMARY KEY,
    public_id uuid NOT NULL,
    subscription_version bigint NOT NULL,
    plan text NOT NULL CHECK (plan IN ('FREE', 'PREMIUM', 'PRO')),
    status text NOT NULL CHECK (status IN ('ACTIVE', 'TRIAL', 'PAST_DUE', 'CANCELLED', 'EXPIRED')),
    max_trades_per_month integer,
    max_active_strategies integer,
    max_symbols integer,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CALL tenant_table('entitlements', app => 'SELECT, UPDATE', worker => 'SELECT, INSERT, UPDATE');
CALL keep_updated_at('entitlements');

CREATE TABLE user_strategies (
    user_id bigint NOT NULL,
    strategy_id uuid NOT NULL,
    strategy_name text NOT NULL,
    strategy_description text,
    strategy_config jsonb NOT NULL,
    entry_conditions jsonb NOT NULL,
    exit_conditions jsonb,
    risk_management jsonb NOT NULL,
    content_hash text NOT NULL,
    version integer NOT NULL DEFAULT 1,
    total_uses integer NOT NULL DEFAULT 0,
    win_rate numeric CHECK (win_rate <> 'NaN'),
    avg_pnl numeric CHECK (avg_pnl <> 'NaN'),
    is_public boolean NOT NULL DEFAULT false,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, strategy_id),
    UNIQUE (user_id, strategy_name)
);
CALL tenant_table('user_strategies', app => 'SELECT, INSERT, UPDATE', worker => 'SELECT');
CALL keep_updated_at('user_strategies');

-- Immutable: no grant to change or remove.
CREATE TABLE strategy_versions (
    user_id bigint NOT NULL,
    strategy_id uuid NOT NULL,
    version integer NOT NULL,
    content_hash text NOT NULL,
    document jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, strategy_id, version),
    FOREIGN KEY (user_id, strategy_id) REFERENCES user_strategies (user_id, strategy_id)
);
CALL tenant_table('strategy_versions', app => 'SELECT, INSERT', worker => 'SELECT');

CREATE TABLE user_bot_configurations (
    user_id bigint NOT NULL,
    bot_configuration_id uuid NOT NULL,
    config_name text NOT NULL,
    config_data jsonb NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    is_default boolean NOT NULL DEFAULT false,
    strategy_type text,
    risk_level text CHECK (risk_level IN ('LOW', 'MEDIUM', 'HIGH')),
    max_position_size numeric CHECK (max_position_size <> 'NaN' AND max_position_size > 0),
    stop_loss_percentage numeric CHECK (stop_loss_percentage <> 'NaN' AND stop_loss_percentage > 0),
    take_profit_percentage numeric CHECK (take_profit_percentage <> 'NaN' AND take_profit_percentage > 0),
    times_used integer NOT NULL DEFAULT 0,
    last_used timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, bot_configuration_id),
    UNIQUE (user_id, config_name)
);
CREATE UNIQUE INDEX one_default_configuration ON user_bot_configurations (user_id) WHERE is_default;
CALL tenant_table('user_bot_configurations', app => 'SELECT, INSERT, UPDATE, DELETE', worker => 'SELECT');
CALL keep_updated_at('user_bot_configurations');

-- migrate:down
