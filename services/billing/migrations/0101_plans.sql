-- migrate:up
-- The catalogue. Prices in EUR; a limit that is NULL is no limit. Not a tenant's table: everybody sees it.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

CREATE TABLE subscription_plans (
    plan_id smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (name IN ('FREE', 'PREMIUM', 'PRO')),
    display_name text NOT NULL,
    description text NOT NULL,
    price_monthly numeric NOT NULL CHECK (price_monthly >= 0 AND price_monthly <> 'NaN'),
    price_yearly numeric NOT NULL CHECK (price_yearly >= 0 AND price_yearly <> 'NaN'),
    max_trades_per_month integer CHECK (max_trades_per_month >= 0),
    max_active_strategies integer CHECK (max_active_strategies >= 0),
    max_symbols integer CHECK (max_symbols >= 0),
    daily_api_requests integer CHECK (daily_api_requests >= 0),
    max_backtests_per_day integer CHECK (max_backtests_per_day >= 0),
    has_advanced_ai boolean NOT NULL,
    has_api_access boolean NOT NULL,
    has_backtesting boolean NOT NULL,
    has_telegram_alerts boolean NOT NULL,
    has_priority_support boolean NOT NULL,
    stripe_price_id_monthly text,
    stripe_price_id_yearly text,
    version integer NOT NULL DEFAULT 1,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now()
);

INSERT INTO subscription_plans
    (name, display_name, description, price_monthly, price_yearly, max_trades_per_month, max_active_strategies,
     max_symbols, daily_api_requests, max_backtests_per_day, has_advanced_ai, has_api_access, has_backtesting,
     has_telegram_alerts, has_priority_support)
VALUES
    ('FREE', 'Free', 'One strategy on one symbol', 0, 0, 10, 1, 1, 1000, 0, false, false, false, false, false),
    ('PREMIUM', 'Premium', 'Five strategies, backtesting and Telegram alerts', 29.99, 299.90,
     1000, 5, 10, 20000, 100, true, false, true, true, false),
    ('PRO', 'Pro', 'No limits, API access and priority support', 99.99, 999.90,
     NULL, NULL, NULL, NULL, NULL, true, true, true, true, true);

DO $$
DECLARE
    service text := current_schema();
BEGIN
    EXECUTE format('GRANT SELECT ON subscription_plans TO %I, %I', service || '_app', service || '_worker');
END
$$;

-- migrate:down
