-- migrate:up
-- A username is one user's, without regard to case and to how its letters are encoded. The locator is written by a
-- trigger, so that no statement that writes users goes round it, and looked up by one function.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

CREATE TABLE username_locator (
    username_sha256 bytea CONSTRAINT username_taken PRIMARY KEY CHECK (length(username_sha256) = 32),
    user_id bigint NOT NULL
);

CREATE FUNCTION username_sha256(username text) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT sha256(convert_to(casefold(normalize(btrim(username), NFKC) COLLATE pg_c_utf8), 'UTF8'))
$$;

CREATE FUNCTION locate_username(name text) RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT user_id FROM username_locator WHERE username_sha256 = username_sha256(name)
$$;

CREATE FUNCTION claim_username() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.username IS NOT NULL THEN
        DELETE FROM username_locator l WHERE l.username_sha256 = username_sha256(OLD.username) AND l.user_id = OLD.user_id;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.username IS NOT NULL THEN
        INSERT INTO username_locator VALUES (username_sha256(NEW.username), NEW.user_id);
    END IF;
    RETURN NULL;
END
$$;

-- Of several who have one, the first keeps it; the others choose again.
UPDATE users SET username = NULL WHERE user_id IN (
    SELECT user_id FROM (
        SELECT user_id, row_number() OVER (PARTITION BY username_sha256(username) ORDER BY user_id) AS place
        FROM users WHERE username IS NOT NULL) AS numbered
    WHERE place > 1);

INSERT INTO username_locator SELECT username_sha256(username), user_id FROM users WHERE username IS NOT NULL;

CREATE TRIGGER claim_username AFTER INSERT OR DELETE OR UPDATE OF username ON users
    FOR EACH ROW EXECUTE FUNCTION claim_username();

DO $$
DECLARE
    service text := current_schema();
    named text;
BEGIN
    FOREACH named IN ARRAY ARRAY['username_sha256', 'locate_username', 'claim_username'] LOOP
        EXECUTE format('ALTER FUNCTION %I SET search_path = %I, pg_temp', named, service);
        EXECUTE format('REVOKE ALL ON FUNCTION %I FROM PUBLIC', named);
    END LOOP;
    EXECUTE format('GRANT EXECUTE ON FUNCTION locate_username TO %I', service || '_app');
END
$$;

-- migrate:down
