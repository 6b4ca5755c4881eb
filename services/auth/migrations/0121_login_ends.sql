-- migrate:up
-- An account that is deactivated ends its logins.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

ALTER TABLE user_sessions DROP CONSTRAINT user_sessions_end_reason_check;
ALTER TABLE user_sessions ADD CONSTRAINT user_sessions_end_reason_check
    CHECK (end_reason IN ('LOGGED_OUT', 'REVOKED', 'TOKEN_REUSED', 'TOO_MANY', 'PASSWORD_CHANGED', 'DEACTIVATED'));

-- migrate:down
