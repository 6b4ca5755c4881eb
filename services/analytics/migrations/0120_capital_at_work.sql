-- migrate:up
-- What a day's percentages are of. NULL in days cut before: all days of their owner are cut again with the next event.
SET lock_timeout = '5s';
SET statement_timeout = '60s';
ALTER TABLE user_daily_performance ADD COLUMN capital_at_work numeric CHECK (capital_at_work <> 'NaN');

-- migrate:down
