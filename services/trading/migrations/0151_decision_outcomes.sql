-- migrate:up
-- A decision ends: an order is filled or dropped, a refusal lasts for a stretch of bars and is stored once.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- `until`: of an order the bar at whose open it ended, of a refusal the last bar of its stretch; null while it lasts.
-- `allowed` and `asked`: the figures of a refusal that the session's other rows do not give.
ALTER TABLE decisions
    ADD COLUMN until timestamptz,
    ADD COLUMN allowed numeric CHECK (allowed <> 'NaN'),
    ADD COLUMN asked numeric CHECK (asked <> 'NaN');

UPDATE decisions SET outcome = 'refused', refusal = 'too_small' WHERE outcome = 'too_small';
UPDATE decisions SET until = time WHERE outcome = 'refused';
UPDATE decisions AS d SET outcome = 'filled', until = f.time
FROM (SELECT user_id, decision_id, min(time) AS time FROM fills WHERE decision_id IS NOT NULL
      GROUP BY user_id, decision_id) AS f
WHERE d.outcome = 'pending' AND f.user_id = d.user_id AND f.decision_id = d.decision_id;
UPDATE decisions AS d SET outcome = 'dropped', until = s.last_bar
FROM user_trading_sessions AS s
WHERE d.outcome = 'pending' AND s.user_id = d.user_id AND s.session_id = d.session_id
      AND (s.status = 'STOPPED' OR d.time < s.last_bar);

CREATE INDEX open_decisions ON decisions (user_id, session_id) WHERE until IS NULL;

DO $$
BEGIN
    GRANT UPDATE (outcome, until) ON decisions TO trading_app;
    GRANT UPDATE (until) ON decisions TO trading_worker;
END
$$;

-- migrate:down
