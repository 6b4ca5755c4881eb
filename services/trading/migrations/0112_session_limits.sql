-- migrate:up
-- What a session is held to is recorded with it: its configuration may change or go, its limits stay.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

ALTER TABLE user_trading_sessions
    ADD COLUMN max_position_size numeric CHECK (max_position_size <> 'NaN'),
    ADD COLUMN stop_loss_percentage numeric CHECK (stop_loss_percentage <> 'NaN'),
    ADD COLUMN take_profit_percentage numeric CHECK (take_profit_percentage <> 'NaN'),
    ADD COLUMN min_stop_distance_percentage numeric CHECK (min_stop_distance_percentage <> 'NaN'),
    ADD COLUMN fingerprint text;

-- migrate:down
