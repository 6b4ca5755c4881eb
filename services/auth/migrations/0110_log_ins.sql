-- migrate:up
-- A new password ends the other log-ins; where a person has logged in from before.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

ALTER TABLE user_sessions DROP CONSTRAINT user_sessions_end_reason_check;
ALTER TABLE user_sessions ADD CONSTRAINT user_sessions_end_reason_check
    CHECK (end_reason IN ('LOGGED_OUT', 'REVOKED', 'TOKEN_REUSED', 'TOO_MANY', 'PASSWORD_CHANGED'));

-- Networks from which somebody with the right password came: strangers cannot lock him out there.
CREATE TABLE known_networks (
    user_id bigint NOT NULL REFERENCES users (user_id),
    network cidr NOT NULL,
    last_login timestamptz NOT NULL,
    PRIMARY KEY (user_id, network)
);
CALL tenant_table('known_networks', app => 'SELECT, INSERT, UPDATE, DELETE', worker => '');

-- migrate:down
