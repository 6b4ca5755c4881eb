-- migrate:up
-- A running session's row has the fingerprint of its fills so far, kept up by its steps; a new one has that of none.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

ALTER TABLE user_trading_sessions
    ALTER COLUMN fingerprint SET DEFAULT 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

-- The lines are those of shared/strategy/execution/fingerprint.py.
UPDATE user_trading_sessions AS s SET fingerprint = encode(sha256(convert_to(coalesce((
    SELECT string_agg(concat_ws(',', (extract(epoch FROM time) * 1000)::bigint, action, side, trim_scale(qty),
                                trim_scale(price), reason) || E'\n', '' ORDER BY fill_number)
    FROM fills AS f WHERE f.user_id = s.user_id AND f.session_id = s.session_id), ''), 'UTF8')), 'hex')
WHERE s.fingerprint IS NULL;

ALTER TABLE user_trading_sessions ALTER COLUMN fingerprint SET NOT NULL;

-- migrate:down
