-- migrate:up
-- Accounts, their log-ins, and the locators that find the account of an e-mail or a refresh token.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- The id is drawn before the row is written, because a transaction says for which tenant it is as it begins.
CREATE SEQUENCE user_ids;

CREATE TABLE users (
    user_id bigint PRIMARY KEY CHECK (user_id > 0),
    public_id uuid NOT NULL,
    email text NOT NULL CHECK (length(email) BETWEEN 3 AND 254),
    password_hash text NOT NULL,
    username text CHECK (length(username) <= 50),
    first_name text CHECK (length(first_name) <= 100),
    last_name text CHECK (length(last_name) <= 100),
    telegram_chat_id bigint,
    timezone text NOT NULL,
    language text NOT NULL CHECK (language IN ('en', 'it')),
    is_active boolean NOT NULL DEFAULT true,
    email_verified boolean NOT NULL DEFAULT false,
    trial_end_date timestamptz,
    subscription_tier text NOT NULL DEFAULT 'FREE' CHECK (subscription_tier IN ('FREE', 'PREMIUM', 'PRO')),
    subscription_start_date timestamptz,
    subscription_end_date timestamptz,
    subscription_version bigint NOT NULL DEFAULT 0,
    last_login timestamptz,
    login_count integer NOT NULL DEFAULT 0,
    aggregate_seq bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN users.telegram_chat_id IS 'projection of the link that notifications owns';
COMMENT ON COLUMN users.subscription_tier IS 'subscription_* and trial_end_date: projection of subscription.changed';
CREATE INDEX users_by_email ON users (email);
CALL tenant_table('users', app => 'SELECT, INSERT, UPDATE', worker => 'SELECT, UPDATE');
CALL keep_updated_at('users');

-- One row per log-in; it is also the family of the refresh tokens that follow from it.
CREATE TABLE user_sessions (
    user_id bigint NOT NULL REFERENCES users (user_id),
    session_id uuid NOT NULL,
    session_token bytea NOT NULL CHECK (length(session_token) = 32),
    refresh_token bytea NOT NULL CHECK (length(refresh_token) = 32),
    rotated_token bytea CHECK (length(rotated_token) = 32),
    rotated_at timestamptz,
    retried boolean NOT NULL DEFAULT false,
    generation integer NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL,
    ip_address inet,
    user_agent text CHECK (length(user_agent) <= 300),
    is_active boolean NOT NULL DEFAULT true,
    ended_at timestamptz,
    end_reason text CHECK (end_reason IN ('LOGGED_OUT', 'REVOKED', 'TOKEN_REUSED', 'TOO_MANY')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, session_id),
    UNIQUE (user_id, session_token),
    UNIQUE (user_id, refresh_token),
    CHECK (is_active = (ended_at IS NULL)),
    CHECK (is_active = (end_reason IS NULL))
);
COMMENT ON COLUMN user_sessions.session_token IS 'SHA-256 of the id (jti) of the newest access token';
COMMENT ON COLUMN user_sessions.refresh_token IS 'SHA-256 of the newest refresh token';
COMMENT ON COLUMN user_sessions.rotated_token IS 'SHA-256 of the token that the current generation was given for';
CREATE INDEX user_sessions_of_user ON user_sessions (user_id, is_active, created_at);
CALL tenant_table('user_sessions', app => 'SELECT, INSERT, UPDATE, DELETE', worker => '');
CALL keep_updated_at('user_sessions');

-- Every refresh token given out and not yet expired, so that one used twice is recognised.
CREATE TABLE refresh_tokens (
    user_id bigint NOT NULL,
    token_sha256 bytea NOT NULL CHECK (length(token_sha256) = 32),
    session_id uuid NOT NULL,
    generation integer NOT NULL,
    issued_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, token_sha256),
    FOREIGN KEY (user_id, session_id) REFERENCES user_sessions (user_id, session_id) ON DELETE CASCADE
);
CREATE INDEX refresh_tokens_of_session ON refresh_tokens (user_id, session_id, issued_at);
CALL tenant_table('refresh_tokens', app => 'SELECT, INSERT, DELETE', worker => '');

-- Locators: hashed value to user, granted to nobody, reached through one function each.
CREATE TABLE email_locator (
    email_sha256 bytea PRIMARY KEY CHECK (length(email_sha256) = 32),
    user_id bigint NOT NULL
);
CREATE TABLE refresh_token_locator (
    token_sha256 bytea PRIMARY KEY CHECK (length(token_sha256) = 32),
    user_id bigint NOT NULL
);

CREATE FUNCTION locate_email(hashed bytea, claim bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    owner bigint;
BEGIN
    IF claim IS NOT NULL THEN
        IF claim IS DISTINCT FROM nullif(current_setting('app.user_id', true), '')::bigint THEN
            RAISE EXCEPTION 'an e-mail can be claimed for the current tenant only' USING ERRCODE = 'insufficient_privilege';
        END IF;
        INSERT INTO email_locator VALUES (hashed, claim) ON CONFLICT DO NOTHING;
    END IF;
    SELECT user_id INTO owner FROM email_locator WHERE email_sha256 = hashed;
    RETURN owner;
END
$$;

CREATE FUNCTION locate_refresh_token(hashed bytea, claim bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    owner bigint;
BEGIN
    IF claim IS NOT NULL THEN
        IF claim IS DISTINCT FROM nullif(current_setting('app.user_id', true), '')::bigint THEN
            RAISE EXCEPTION 'a token can be claimed for the current tenant only' USING ERRCODE = 'insufficient_privilege';
        END IF;
        INSERT INTO refresh_token_locator VALUES (hashed, claim) ON CONFLICT DO NOTHING;
    END IF;
    SELECT user_id INTO owner FROM refresh_token_locator WHERE token_sha256 = hashed;
    RETURN owner;
END
$$;

-- A token that is forgotten leaves its locator too.
CREATE FUNCTION forget_refresh_token() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    DELETE FROM refresh_token_locator WHERE token_sha256 = OLD.token_sha256 AND user_id = OLD.user_id;
    RETURN OLD;
END
$$;
CREATE TRIGGER forget_locator AFTER DELETE ON refresh_tokens FOR EACH ROW EXECUTE FUNCTION forget_refresh_token();

DO $$
DECLARE
    service text := current_schema();
    locator text;
BEGIN
    FOREACH locator IN ARRAY ARRAY['locate_email', 'locate_refresh_token', 'forget_refresh_token'] LOOP
        EXECUTE format('ALTER FUNCTION %I SET search_path = %I, pg_temp', locator, service);
        EXECUTE format('REVOKE ALL ON FUNCTION %I FROM PUBLIC', locator);
    END LOOP;
    EXECUTE format('GRANT EXECUTE ON FUNCTION locate_email, locate_refresh_token TO %I', service || '_app');
    EXECUTE format('GRANT USAGE ON SEQUENCE user_ids TO %I', service || '_app');
END
$$;

-- migrate:down
