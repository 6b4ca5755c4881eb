-- migrate:up
-- A refresh token carries its own use: tabs that refresh within the grace each go on with a token of their own.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

ALTER TABLE refresh_tokens
    ADD COLUMN marked boolean NOT NULL DEFAULT false,
    ADD COLUMN used_at timestamptz,
    ADD COLUMN successors integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN refresh_tokens.marked IS 'used_at is kept; where it is false only the generation tells whether it was used';
COMMENT ON COLUMN refresh_tokens.used_at IS 'its first use; NULL: not used yet';
COMMENT ON COLUMN refresh_tokens.successors IS 'tokens that were given for it';

DO $$
BEGIN
    EXECUTE format('GRANT UPDATE (marked, used_at, successors) ON refresh_tokens TO %I', current_schema() || '_app');
END
$$;

-- migrate:down
