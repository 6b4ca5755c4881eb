-- migrate:up
-- These services ask for no series: nothing ever wrote to these tables.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

DO $$
BEGIN
    IF current_schema() IN ('auth', 'billing') THEN
        DROP TABLE market_interests, published_interests;
    END IF;
END
$$;

-- migrate:down
