-- migrate:up
-- How many accounts a network has made in its running hour and day, and how many of them began a trial. Nobody's rows.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

CREATE TABLE registrations (
    network cidr PRIMARY KEY,
    hour_began timestamptz NOT NULL,
    in_hour integer NOT NULL CHECK (in_hour >= 0),
    day_began timestamptz NOT NULL,
    in_day integer NOT NULL CHECK (in_day >= 0),
    trials_in_day integer NOT NULL CHECK (trials_in_day >= 0)
);
CREATE INDEX registrations_by_age ON registrations (day_began);

DO $$
BEGIN
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON registrations TO %I', current_schema() || '_app');
END
$$;

-- migrate:down
