-- migrate:up
-- Running sessions and stored strategies are limited by the plan. NULL = unlimited.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

ALTER TABLE entitlements ADD COLUMN max_running_sessions integer, ADD COLUMN max_stored_strategies integer;
-- Subscriptions published before this have neither: those of the shipped catalogue, until the next one comes.
UPDATE entitlements SET
    max_running_sessions = CASE plan WHEN 'FREE' THEN 3 WHEN 'PREMIUM' THEN 50 ELSE 1000 END,
    max_stored_strategies = CASE plan WHEN 'FREE' THEN 10 WHEN 'PREMIUM' THEN 100 ELSE 1000 END;

-- migrate:down
