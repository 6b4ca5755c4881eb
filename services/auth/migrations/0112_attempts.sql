-- migrate:up
-- How often somebody has failed, by the hash of whom he tried and of where he is (domain/attempts.py). Nobody's rows:
-- most are about e-mails that nobody has. What is counted is forgotten after an hour; a job holds the table to a size.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

CREATE TABLE attempts (
    counter bytea PRIMARY KEY CHECK (length(counter) = 33),
    failures integer NOT NULL,
    last_at timestamptz NOT NULL
);
CREATE INDEX attempts_by_age ON attempts (last_at);

DO $$
DECLARE
    service text := current_schema();
BEGIN
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON attempts TO %I', service || '_app');
END
$$;

-- migrate:down
