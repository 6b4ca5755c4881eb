-- migrate:up
-- Lets `dlq replay` tell an event that was worked meanwhile, whose row is gone, from one that never was.
SET lock_timeout = '5s';
SET statement_timeout = '10min';

DO $$
BEGIN
    EXECUTE format('GRANT SELECT ON SEQUENCE %s TO %I', pg_get_serial_sequence('parked', 'id'),
                   current_schema() || '_queue');
END
$$;

-- migrate:down
