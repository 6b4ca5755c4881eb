-- migrate:up
-- The catalogue in versions: a plan that changes is another row, and who subscribed before keeps the one he has.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

ALTER TABLE subscription_plans DROP CONSTRAINT subscription_plans_name_key;
ALTER TABLE subscription_plans ADD UNIQUE (name, version);
ALTER TABLE subscription_plans ADD CHECK (version >= 1);
CREATE UNIQUE INDEX one_active_version ON subscription_plans (name) WHERE is_active;
COMMENT ON COLUMN subscription_plans.is_active IS 'the version that new subscribers get; one per name';

-- What a user was on, and why: one row per change of plan, of its version or of its status.
CREATE TABLE plan_changes (
    user_id bigint NOT NULL REFERENCES subscribers (user_id),
    change_number bigint NOT NULL CHECK (change_number >= 1),
    plan_id smallint NOT NULL REFERENCES subscription_plans (plan_id),
    previous_plan_id smallint REFERENCES subscription_plans (plan_id),
    status text NOT NULL CHECK (status IN ('ACTIVE', 'TRIAL', 'PAST_DUE', 'CANCELLED', 'EXPIRED')),
    reason text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, change_number)
);
COMMENT ON COLUMN plan_changes.change_number IS 'the version of the subscription with which it was said';
CALL tenant_table('plan_changes', app => 'SELECT, INSERT', worker => 'SELECT, INSERT');

-- What is known of the changes before: each plan that a user has had began with one.
INSERT INTO plan_changes (user_id, change_number, plan_id, previous_plan_id, status, reason, created_at)
SELECT user_id, row_number() OVER plans, plan_id, lag(plan_id) OVER plans,
       CASE WHEN trial_end_date IS NULL THEN 'ACTIVE' ELSE 'TRIAL' END, reason, start_date
FROM user_subscriptions
WINDOW plans AS (PARTITION BY user_id ORDER BY start_date, created_at, subscription_id);

-- migrate:down
