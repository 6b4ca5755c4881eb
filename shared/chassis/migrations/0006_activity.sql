-- migrate:up
-- How much of a user's doing this service has recorded: the number of each activity.recorded among those of its user.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

CREATE TABLE activity_counters (
    user_id bigint PRIMARY KEY,
    recorded bigint NOT NULL CHECK (recorded > 0)
);
CALL tenant_table('activity_counters', app => 'SELECT, INSERT, UPDATE', worker => '');

-- migrate:down
