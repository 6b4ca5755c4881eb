-- migrate:up
-- Who is on which plan, since when and until when.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- The aggregate: its row is locked before a subscription changes or a trade is booked, and it numbers the changes.
CREATE TABLE subscribers (
    user_id bigint PRIMARY KEY,
    public_id uuid NOT NULL,
    subscription_version bigint NOT NULL DEFAULT 0,
    trial_started_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CALL tenant_table('subscribers', app => 'SELECT, UPDATE', worker => 'SELECT, INSERT, UPDATE');
CALL keep_updated_at('subscribers');

-- One row per plan that a user has had; at most one of them is live.
CREATE TABLE user_subscriptions (
    user_id bigint NOT NULL REFERENCES subscribers (user_id),
    subscription_id uuid NOT NULL,
    plan_id smallint NOT NULL REFERENCES subscription_plans (plan_id),
    status text NOT NULL CHECK (status IN ('ACTIVE', 'TRIAL', 'PAST_DUE', 'CANCELLED', 'EXPIRED')),
    reason text NOT NULL,
    stripe_subscription_id text,
    stripe_customer_id text,
    start_date timestamptz NOT NULL,
    end_date timestamptz,
    next_billing_date timestamptz,
    trial_end_date timestamptz,
    current_period_start timestamptz NOT NULL,
    current_period_end timestamptz NOT NULL,
    current_period_trades integer NOT NULL DEFAULT 0 CHECK (current_period_trades >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, subscription_id),
    CHECK (current_period_end > current_period_start),
    CHECK ((status = 'TRIAL') <= (trial_end_date IS NOT NULL)),
    CHECK ((end_date IS NULL) = (status IN ('ACTIVE', 'TRIAL', 'PAST_DUE')))
);
COMMENT ON COLUMN user_subscriptions.current_period_trades IS 'counted from usage_ledger, never added to';
CREATE UNIQUE INDEX one_live_subscription ON user_subscriptions (user_id)
    WHERE status IN ('ACTIVE', 'TRIAL', 'PAST_DUE');
CALL tenant_table('user_subscriptions', app => 'SELECT, INSERT, UPDATE', worker => 'SELECT, INSERT, UPDATE');
CALL keep_updated_at('user_subscriptions');

-- A queue: when the live subscription of a user must be looked at again (trial over, period over). Ids and times only.
CREATE TABLE subscription_deadlines (
    user_id bigint PRIMARY KEY REFERENCES subscribers (user_id),
    due_at timestamptz NOT NULL
);
CREATE INDEX subscription_deadlines_due ON subscription_deadlines (due_at);
CALL tenant_table('subscription_deadlines', app => 'SELECT, INSERT, UPDATE', worker => 'SELECT, INSERT, UPDATE',
                  queue => 'SELECT');

-- Whose e-mail this is: for operators, who know people by it, and for the rule of one trial per person.
CREATE TABLE email_locator (
    email_sha256 bytea PRIMARY KEY CHECK (length(email_sha256) = 32),
    user_id bigint NOT NULL
);

CREATE FUNCTION locate_email(hashed bytea, claim bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    owner bigint;
BEGIN
    IF claim IS NOT NULL THEN
        IF NOT claim = ANY (coalesce(string_to_array(nullif(current_setting('app.user_ids', true), ''), ',')::bigint[], '{}')) THEN
            RAISE EXCEPTION 'an e-mail can be claimed for a tenant of the batch only' USING ERRCODE = 'insufficient_privilege';
        END IF;
        INSERT INTO email_locator VALUES (hashed, claim) ON CONFLICT DO NOTHING;
    END IF;
    SELECT user_id INTO owner FROM email_locator WHERE email_sha256 = hashed;
    RETURN owner;
END
$$;

DO $$
DECLARE
    service text := current_schema();
BEGIN
    EXECUTE format('ALTER FUNCTION locate_email SET search_path = %I, pg_temp', service);
    EXECUTE 'REVOKE ALL ON FUNCTION locate_email FROM PUBLIC';
    EXECUTE format('GRANT EXECUTE ON FUNCTION locate_email TO %I, %I', service || '_app', service || '_worker');
END
$$;

-- migrate:down
