-- migrate:up
-- A user has one public id, and a public id one user: the first pair that is known counts.
SET lock_timeout = '5s';
SET statement_timeout = '10min';

-- A second public id of a user can only be forged; rows stand in the order in which they came.
DELETE FROM user_locator AS later USING user_locator AS first
WHERE later.user_id = first.user_id AND later.ctid > first.ctid;
CREATE UNIQUE INDEX user_locator_by_user ON user_locator (user_id);

-- Whether this is the known pair: NULL where neither of the two is known yet.
CREATE FUNCTION vouch_for_user(public_id uuid, user_id bigint) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT CASE WHEN by_public_id.user_id = claim.user_id THEN true
                WHEN by_public_id.user_id IS NOT NULL OR by_user.user_id IS NOT NULL THEN false END
    FROM (VALUES ($1, $2)) AS claim (public_id, user_id)
    LEFT JOIN user_locator AS by_public_id ON by_public_id.public_id_sha256 = sha256(uuid_send(claim.public_id))
    LEFT JOIN user_locator AS by_user ON by_user.user_id = claim.user_id
$$;

DO $$
DECLARE
    service text := current_schema();
BEGIN
    EXECUTE format('ALTER FUNCTION vouch_for_user SET search_path = %I, pg_temp', service);
    EXECUTE 'REVOKE ALL ON FUNCTION vouch_for_user FROM PUBLIC';
    EXECUTE format('GRANT EXECUTE ON FUNCTION vouch_for_user TO %I', service || '_worker');
END
$$;

-- migrate:down
