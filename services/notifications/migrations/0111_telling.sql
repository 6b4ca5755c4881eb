-- migrate:up
SET lock_timeout = '5s';
SET statement_timeout = '10min';

-- Projection of user.registered and what follows it: in whose language and zone we write.
CREATE TABLE contacts (
    user_id bigint PRIMARY KEY,
    contact_version bigint NOT NULL,
    email text NOT NULL,
    language text NOT NULL,
    timezone text NOT NULL,
    is_active boolean NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CALL tenant_table('contacts', app => 'SELECT', worker => 'SELECT, INSERT, UPDATE');
CALL keep_updated_at('contacts');

-- What a tenant wants to be told: by kind of message, what differs from the defaults.
CREATE TABLE inbox_preferences (
    user_id bigint PRIMARY KEY,
    version bigint NOT NULL DEFAULT 0,
    kinds jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CALL tenant_table('inbox_preferences', app => 'SELECT, INSERT, UPDATE', worker => 'SELECT');
CALL keep_updated_at('inbox_preferences');

-- Every change of an inbox has a number, given under the lock of this row and seen with it: who has seen a number
-- has seen all below it.
CREATE TABLE inboxes (
    user_id bigint PRIMARY KEY,
    last_position bigint NOT NULL DEFAULT 0
);
CALL tenant_table('inboxes', app => 'SELECT, UPDATE', worker => 'SELECT, INSERT, UPDATE');

-- The number of the row's last change.
ALTER TABLE user_system_events ADD COLUMN position bigint;
UPDATE user_system_events AS e SET position = n.position
FROM (SELECT user_id, event_id, row_number() OVER (PARTITION BY user_id ORDER BY event_id) AS position
      FROM user_system_events) AS n
WHERE e.user_id = n.user_id AND e.event_id = n.event_id;
ALTER TABLE user_system_events ALTER COLUMN position SET NOT NULL;
INSERT INTO inboxes (user_id, last_position)
SELECT user_id, max(position) FROM user_system_events GROUP BY user_id;
CREATE INDEX system_events_by_position ON user_system_events (user_id, position);

-- How much of a kind was said of one minute. Beyond some it stands in one digest, which counts the rest by symbol.
CREATE TABLE inbox_minutes (
    user_id bigint NOT NULL,
    event_type text NOT NULL,
    minute timestamptz NOT NULL,
    told integer NOT NULL,
    digest_id uuid,
    digested jsonb NOT NULL DEFAULT '{}',
    severity text NOT NULL DEFAULT 'INFO' CHECK (severity IN ('INFO', 'WARNING', 'ERROR', 'CRITICAL')),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, event_type, minute)
);
CREATE INDEX inbox_minutes_by_age ON inbox_minutes (updated_at);
CALL tenant_table('inbox_minutes', app => '', worker => 'SELECT, INSERT, UPDATE');

-- The ledger: an event reaches a person once by each channel. `message_id` is the row of the inbox that tells of it,
-- by itself or, DIGESTED, with others.
CREATE TABLE deliveries (
    user_id bigint NOT NULL,
    event_id uuid NOT NULL,
    channel text NOT NULL CHECK (channel IN ('dashboard', 'telegram', 'email', 'webhook')),
    event_type text NOT NULL,
    state text NOT NULL CHECK (state IN ('DELIVERED', 'DIGESTED')),
    attempts integer NOT NULL DEFAULT 1 CHECK (attempts > 0),
    message_id uuid NOT NULL,
    said_at timestamptz NOT NULL,
    delivered_at timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, event_id, channel)
);
CREATE INDEX deliveries_by_age ON deliveries (created_at);
CALL tenant_table('deliveries', app => 'SELECT', worker => 'SELECT, INSERT');

DO $$
BEGIN
    EXECUTE format('GRANT UPDATE ON user_system_events TO %I', current_schema() || '_worker');
END
$$;

-- migrate:down
