-- migrate:up
-- The rest of what trading says of a closed trade: for exports. Rows from before have none of it.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

ALTER TABLE trade_facts
    ADD COLUMN entry_price numeric CHECK (entry_price <> 'NaN'),
    ADD COLUMN exit_price numeric CHECK (exit_price <> 'NaN'),
    ADD COLUMN quantity numeric CHECK (quantity <> 'NaN'),
    ADD COLUMN pnl_percentage numeric CHECK (pnl_percentage <> 'NaN'),
    ADD COLUMN strategy_hash text;
CREATE INDEX session_facts_by_end ON session_facts (user_id, mode, stopped_at) WHERE stopped_at IS NOT NULL;

-- Whose turn it is: everybody of whom there are facts or analyses, for what an operator or a job does for all.
-- Ids and times only.
CREATE TABLE user_rounds (
    user_id bigint PRIMARY KEY,
    retention_due_at timestamptz NOT NULL DEFAULT now() + interval '1 day'
);
CREATE INDEX user_rounds_due ON user_rounds (retention_due_at);
CALL tenant_table('user_rounds', app => '', worker => 'SELECT, INSERT, UPDATE', queue => 'SELECT');
INSERT INTO user_rounds (user_id) SELECT user_id FROM user_zones;

CREATE FUNCTION begin_rounds() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO user_rounds (user_id) VALUES (NEW.user_id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER begin_rounds AFTER INSERT ON user_zones FOR EACH ROW EXECUTE FUNCTION begin_rounds();

-- Whose e-mail this is: for operators, who know people by it.
CREATE TABLE email_locator (
    email_sha256 bytea PRIMARY KEY CHECK (length(email_sha256) = 32),
    user_id bigint NOT NULL
);

CREATE FUNCTION locate_email(hashed bytea, claim bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    owner bigint;
BEGIN
    IF claim IS NOT NULL THEN
        IF NOT claim = ANY (coalesce(string_to_array(nullif(current_setting('app.user_ids', true), ''), ',')::bigint[], '{}')) THEN
            RAISE EXCEPTION 'an e-mail can be claimed for a tenant of the batch only' USING ERRCODE = 'insufficient_privilege';
        END IF;
        INSERT INTO email_locator VALUES (hashed, claim) ON CONFLICT DO NOTHING;
    END IF;
    SELECT user_id INTO owner FROM email_locator WHERE email_sha256 = hashed;
    RETURN owner;
END
$$;

DO $$
DECLARE
    service text := current_schema();
BEGIN
    EXECUTE format('ALTER FUNCTION locate_email SET search_path = %I, pg_temp', service);
    EXECUTE format('ALTER FUNCTION begin_rounds SET search_path = %I, pg_temp', service);
    EXECUTE 'REVOKE ALL ON FUNCTION locate_email FROM PUBLIC';
    EXECUTE format('GRANT EXECUTE ON FUNCTION locate_email TO %I', service || '_worker');
END
$$;

-- migrate:down
