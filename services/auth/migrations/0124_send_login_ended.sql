-- migrate:up
-- Auth may send `login.ended`: the function of 0060_outbox_of_this_service.sql with one topic more.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

CREATE OR REPLACE FUNCTION outbox_may_send(user_id bigint, topic text, key text, headers jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN coalesce(
    CASE
        WHEN topic = ANY (ARRAY['activity.recorded', 'login.ended', 'usage.recorded', 'user.registered', 'user.updated'])
            THEN headers ->> 'ce_source' = 'auth' AND headers ->> 'ce_type' = topic AND key = user_id::text
        WHEN topic = ANY (ARRAY['activity.recorded.dlq', 'subscription.changed.dlq'])
            THEN headers ->> 'dlq_group' IN ('auth', 'auth-market') AND headers ->> 'dlq_topic' || '.dlq' = topic
    END,
    false
);

-- migrate:down
