-- migrate:up
-- Apart from the constraint itself, so that its lock is not held while the rows are read.
SET lock_timeout = '5s';
SET statement_timeout = '10min';

ALTER TABLE outbox VALIDATE CONSTRAINT outbox_of_this_service;

-- migrate:down
