-- migrate:up
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- Projection of subscription.changed: what of it alerts need.
CREATE TABLE entitlements (
    user_id bigint PRIMARY KEY,
    subscription_version bigint NOT NULL,
    plan text NOT NULL CHECK (plan IN ('FREE', 'PREMIUM', 'PRO')),
    telegram_alerts boolean NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CALL tenant_table('entitlements', app => 'SELECT', worker => 'SELECT, INSERT, UPDATE');
CALL keep_updated_at('entitlements');

CREATE TABLE user_alerts (
    user_id bigint NOT NULL,
    alert_id uuid NOT NULL,
    public_id uuid NOT NULL,
    alert_name text NOT NULL,
    symbol text NOT NULL,
    interval text NOT NULL,
    alert_type text NOT NULL CHECK (alert_type IN ('PRICE', 'EMA_CROSS', 'VOLUME', 'CUSTOM')),
    condition_data jsonb NOT NULL,
    condition_version integer NOT NULL DEFAULT 1,
    notify_telegram boolean NOT NULL DEFAULT false,
    notify_email boolean NOT NULL DEFAULT false,
    notify_dashboard boolean NOT NULL DEFAULT true,
    notify_webhook boolean NOT NULL DEFAULT false,
    cooldown_seconds integer NOT NULL DEFAULT 0 CHECK (cooldown_seconds BETWEEN 0 AND 31536000),
    expires_at timestamptz,
    is_active boolean NOT NULL DEFAULT true,
    triggered_count integer NOT NULL DEFAULT 0,
    last_triggered timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, alert_id),
    UNIQUE (user_id, alert_name)
);
CALL tenant_table('user_alerts', app => 'SELECT, INSERT, UPDATE, DELETE', worker => 'SELECT, UPDATE');
CALL keep_updated_at('user_alerts');

-- An alert fires once for a bar, however often the bar is heard.
CREATE TABLE alert_firings (
    user_id bigint NOT NULL,
    alert_id uuid NOT NULL,
    open_time timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, alert_id, open_time),
    FOREIGN KEY (user_id, alert_id) REFERENCES user_alerts (user_id, alert_id) ON DELETE CASCADE
);
CALL tenant_table('alert_firings', app => 'SELECT', worker => 'SELECT, INSERT');

-- The inbox. Partitioned by time; reached through this table only.
CREATE TABLE user_system_events (
    user_id bigint NOT NULL,
    event_id uuid NOT NULL,
    timestamp timestamptz NOT NULL,
    event_type text NOT NULL,
    event_category text NOT NULL CHECK (event_category IN ('ALERT', 'TRADING', 'SYSTEM', 'BILLING')),
    message text NOT NULL,
    data jsonb NOT NULL DEFAULT '{}',
    severity text NOT NULL DEFAULT 'INFO' CHECK (severity IN ('INFO', 'WARNING', 'ERROR', 'CRITICAL')),
    is_read boolean NOT NULL DEFAULT false,
    session_id uuid,
    trade_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, event_id, timestamp)
) PARTITION BY RANGE (timestamp);
CREATE INDEX system_events_unread ON user_system_events (user_id, event_id) WHERE NOT is_read;
CALL tenant_table('user_system_events', app => 'SELECT, UPDATE', worker => 'SELECT, INSERT');

CREATE TABLE user_system_events_other PARTITION OF user_system_events DEFAULT;
DO $$
DECLARE
    month date;
BEGIN
    FOR month IN SELECT generate_series(date '2026-01-01', date '2030-12-01', interval '1 month') LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF user_system_events FOR VALUES FROM (%L) TO (%L)',
                       'user_system_events_' || to_char(month, 'YYYY_MM'), month, (month + interval '1 month')::date);
    END LOOP;
END
$$;

-- migrate:down
