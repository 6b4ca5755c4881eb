-- migrate:up
-- Parked events of market topics, which wait by series, and of versions that this program does not know.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

ALTER TABLE parked
    ADD COLUMN message_key text,  -- the key of the Kafka message where it is another than what the event waits with
    ADD COLUMN needs_version integer,  -- the version that a reader has to know; NULL: not newer than its reader
    ADD COLUMN replayed_at timestamptz;  -- when a person had it worked again, which vouches for its version numbers
CREATE INDEX parked_newer ON parked (topic, needs_version) WHERE needs_version IS NOT NULL;

-- migrate:down
