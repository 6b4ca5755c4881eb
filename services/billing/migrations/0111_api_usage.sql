-- migrate:up
-- Requests of a day: what was used, what is leased, what was refused, and which thresholds were said.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- One row per user and UTC day. Blocks are leased from it, its row locked; what is reported is added to it once.
CREATE TABLE user_api_usage (
    user_id bigint NOT NULL,
    date date NOT NULL,
    trading_requests bigint NOT NULL DEFAULT 0 CHECK (trading_requests >= 0),
    analysis_requests bigint NOT NULL DEFAULT 0 CHECK (analysis_requests >= 0),
    backtest_requests bigint NOT NULL DEFAULT 0 CHECK (backtest_requests >= 0),
    other_requests bigint NOT NULL DEFAULT 0 CHECK (other_requests >= 0),
    total_requests bigint NOT NULL
        GENERATED ALWAYS AS (trading_requests + analysis_requests + backtest_requests + other_requests) STORED,
    daily_limit bigint CHECK (daily_limit >= 0),
    requests_remaining bigint GENERATED ALWAYS AS (
        CASE WHEN daily_limit IS NOT NULL THEN greatest(
            daily_limit - (trading_requests + analysis_requests + backtest_requests + other_requests), 0) END) STORED,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, date)
);
COMMENT ON COLUMN user_api_usage.daily_limit IS 'of the plan at the last lease; NULL is no limit';
CALL tenant_table('user_api_usage', app => 'SELECT, INSERT, UPDATE', worker => 'SELECT, INSERT, UPDATE');
CALL keep_updated_at('user_api_usage');

-- Blocks of a day's requests that were handed to a service. A block holds what may still be used of it: until it
-- expires all that was not reported, and once it was given back what was used and is not reported yet.
CREATE TABLE quota_leases (
    user_id bigint NOT NULL,
    lease_id uuid NOT NULL,
    date date NOT NULL,
    service text NOT NULL,
    granted integer NOT NULL CHECK (granted > 0),
    reported integer NOT NULL DEFAULT 0 CHECK (reported >= 0),
    used integer CHECK (used >= 0),
    granted_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, lease_id)
);
COMMENT ON COLUMN quota_leases.used IS 'what the service said when it gave the block back; NULL before';
CREATE INDEX quota_leases_by_day ON quota_leases (user_id, date) INCLUDE (granted, reported, used, expires_at);
CALL tenant_table('quota_leases', app => 'SELECT, INSERT, DELETE', worker => 'SELECT, UPDATE');

-- What was reported, by its natural key: the same report counts once, whatever event brings it.
CREATE TABLE api_usage_reports (
    user_id bigint NOT NULL,
    lease_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('trading', 'analysis', 'backtest', 'other')),
    window_number integer NOT NULL CHECK (window_number >= 1),
    date date NOT NULL,
    requests integer NOT NULL CHECK (requests > 0),
    booked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, lease_id, kind, window_number)
);
CREATE INDEX api_usage_reports_by_day ON api_usage_reports (user_id, date);
CALL tenant_table('api_usage_reports', app => 'SELECT, DELETE', worker => 'SELECT, INSERT');

-- The last refusal of each operation at each service, a day: what is refused a thousand times is one row.
CREATE TABLE quota_refusals (
    user_id bigint NOT NULL,
    meter text NOT NULL CHECK (meter IN ('api_requests')),
    date date NOT NULL,
    service text NOT NULL,
    operation text NOT NULL,
    login_id uuid,
    used bigint NOT NULL,
    allowed bigint NOT NULL,
    refused_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, meter, date, service, operation)
);
CALL tenant_table('quota_refusals', app => 'SELECT, INSERT, UPDATE, DELETE', worker => 'SELECT');

-- Thresholds that were said: each once a meter and period.
CREATE TABLE usage_thresholds (
    user_id bigint NOT NULL,
    meter text NOT NULL CHECK (meter IN ('trades', 'api_requests')),
    period_start timestamptz NOT NULL,
    percent smallint NOT NULL CHECK (percent IN (80, 100)),
    used bigint NOT NULL,
    allowed bigint NOT NULL,
    reached_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, meter, period_start, percent)
);
CALL tenant_table('usage_thresholds', app => 'SELECT', worker => 'SELECT, INSERT');

-- migrate:down
