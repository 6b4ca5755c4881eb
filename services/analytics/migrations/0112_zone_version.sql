-- migrate:up
-- What was said of a user last: an older word that comes later changes nothing.
SET lock_timeout = '5s';
SET statement_timeout = '60s';
ALTER TABLE user_zones ADD COLUMN zone_version bigint NOT NULL DEFAULT 0;

-- migrate:down
