-- migrate:up
-- How far each session has stepped: narrow and without a trigger, because every candle moves the cursors of all
-- sessions. Steps are written for the sessions of many tenants at once, so the worker's role writes them.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- `ended` is set by a stop: a step that waited for its lock must not move the cursor any more.
CREATE TABLE session_cursors (
    user_id bigint NOT NULL,
    session_id uuid NOT NULL,
    first_bar timestamptz,
    last_bar timestamptz,
    moved_at timestamptz NOT NULL DEFAULT now(),
    ended boolean NOT NULL DEFAULT false,
    PRIMARY KEY (user_id, session_id),
    FOREIGN KEY (user_id, session_id) REFERENCES user_trading_sessions (user_id, session_id)
) WITH (fillfactor = 45); -- two versions of each row on its page, so that moves touch no index
CALL tenant_table('session_cursors', app => 'SELECT, INSERT, UPDATE', worker => 'SELECT, UPDATE');

INSERT INTO session_cursors (user_id, session_id, first_bar, last_bar, moved_at, ended)
SELECT user_id, session_id, first_bar, last_bar, updated_at, status = 'STOPPED' FROM user_trading_sessions;
ALTER TABLE user_trading_sessions DROP COLUMN first_bar, DROP COLUMN last_bar;

DO $$
BEGIN
    GRANT INSERT, UPDATE (outcome) ON decisions TO trading_worker;
    GRANT INSERT ON fills TO trading_worker;
    GRANT INSERT, UPDATE ON user_trades TO trading_worker;
    GRANT UPDATE (total_uses, winning_trades, total_pnl, win_rate, avg_pnl) ON user_strategies TO trading_worker;
END
$$;

-- migrate:down
