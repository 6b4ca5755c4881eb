-- migrate:up
-- Running sessions and stored strategies are bounded in every plan, whichever version of it someone is on.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

ALTER TABLE subscription_plans
    ADD COLUMN max_running_sessions integer CHECK (max_running_sessions >= 0),
    ADD COLUMN max_stored_strategies integer CHECK (max_stored_strategies >= 0);
UPDATE subscription_plans SET
    max_running_sessions = CASE name WHEN 'FREE' THEN 3 WHEN 'PREMIUM' THEN 50 ELSE 1000 END,
    max_stored_strategies = CASE name WHEN 'FREE' THEN 10 WHEN 'PREMIUM' THEN 100 ELSE 1000 END;
UPDATE subscription_plans SET description = 'Unlimited trades and symbols, API access and priority support'
WHERE name = 'PRO' AND description = 'No limits, API access and priority support';

-- migrate:down
