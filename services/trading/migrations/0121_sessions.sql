-- migrate:up
-- A session's life: notes of it and of its trades, with revisions, fills that can be followed and lead both ways, restrictions that say
-- which limit it was and at what a stop closed, and whose session it is for whoever knows its id only.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

ALTER TABLE user_trading_sessions ADD COLUMN revision integer NOT NULL DEFAULT 1;
ALTER TABLE user_trades ADD COLUMN revision integer NOT NULL DEFAULT 1;
CREATE INDEX trades_by_creation ON user_trades (user_id, created_at, trade_id);
CREATE INDEX sessions_by_start ON user_trading_sessions (user_id, start_time, session_id);

-- `equity`: the session's realised equity after this fill, where it ends a trade.
ALTER TABLE fills
    ADD COLUMN fill_id uuid NOT NULL DEFAULT uuidv7(),
    ADD COLUMN equity numeric CHECK (equity <> 'NaN'),
    ADD UNIQUE (user_id, fill_id);
CREATE INDEX fills_of_user ON fills (user_id, time, fill_id);
CREATE INDEX fills_of_trade ON fills (user_id, trade_id);
CREATE INDEX fills_of_decision ON fills (user_id, decision_id);
CREATE INDEX decisions_of_user ON decisions (user_id, time, decision_id);

UPDATE fills SET equity = ended.equity
FROM (SELECT last.user_id, last.session_id, last.fill_number, s.initial_balance + sum(t.pnl) OVER (
                 PARTITION BY last.user_id, last.session_id ORDER BY last.fill_number) AS equity
      FROM (SELECT user_id, session_id, trade_id, max(fill_number) AS fill_number FROM fills GROUP BY 1, 2, 3) AS last
           JOIN user_trades AS t USING (user_id, session_id, trade_id)
           JOIN user_trading_sessions AS s USING (user_id, session_id)
      WHERE t.status = 'CLOSED') AS ended
WHERE fills.user_id = ended.user_id AND fills.session_id = ended.session_id
      AND fills.fill_number = ended.fill_number;

-- Of a plan, the limit and its value. Of a stop, the bar whose open had been taken beyond `after_bar`, and the bar and
-- the price that it closed at. Written under the locks of the session's moves, so their times rise with their numbers.
ALTER TABLE session_restrictions
    ADD COLUMN limit_name text,
    ADD COLUMN limit_value integer,
    ADD COLUMN opened_bar timestamptz,
    ADD COLUMN price_bar timestamptz,
    ADD COLUMN price numeric CHECK (price <> 'NaN'),
    ALTER COLUMN created_at SET DEFAULT clock_timestamp();

CREATE TABLE session_locator (
    session_id_sha256 bytea PRIMARY KEY CHECK (length(session_id_sha256) = 32),
    user_id bigint NOT NULL
);
INSERT INTO session_locator SELECT sha256(uuid_send(session_id)), user_id FROM user_trading_sessions;

-- Whose session this is. It is claimed as it is started, for the current tenant only.
CREATE FUNCTION locate_session(session_id uuid, claim bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    hashed bytea := sha256(uuid_send(session_id));
    owner bigint;
BEGIN
    IF claim IS NOT NULL THEN
        IF claim IS DISTINCT FROM nullif(current_setting('app.user_id', true), '')::bigint THEN
            RAISE EXCEPTION 'a session can be claimed for the current tenant only' USING ERRCODE = 'insufficient_privilege';
        END IF;
        INSERT INTO session_locator VALUES (hashed, claim) ON CONFLICT DO NOTHING;
    END IF;
    SELECT user_id INTO owner FROM session_locator WHERE session_id_sha256 = hashed;
    RETURN owner;
END
$$;

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION locate_session SET search_path = %I, pg_temp', current_schema());
    REVOKE ALL ON FUNCTION locate_session FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION locate_session TO trading_app;
END
$$;

-- migrate:down
