-- migrate:up
-- Billing may publish quota.changed. The lists are those of shared/contracts: see tests/isolation/test_outbox.py.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

DO $$
BEGIN
    IF current_schema() <> 'billing' THEN
        RETURN;
    END IF;
    EXECUTE $function$
        CREATE OR REPLACE FUNCTION outbox_may_send(user_id bigint, topic text, key text, headers jsonb) RETURNS boolean
        LANGUAGE sql IMMUTABLE
        RETURN coalesce(
            CASE
                WHEN topic IN ('activity.recorded', 'quota.changed', 'subscription.changed', 'usage.recorded',
                               'usage.threshold')
                    THEN headers ->> 'ce_source' = 'billing' AND headers ->> 'ce_type' = topic AND key = user_id::text
                WHEN topic IN ('trade.closed.dlq', 'usage.recorded.dlq', 'user.registered.dlq')
                    THEN starts_with(headers ->> 'dlq_group' || '-', 'billing-')
                         AND headers ->> 'dlq_topic' || '.dlq' = topic
            END,
            false
        )
    $function$;
END
$$;

-- migrate:down
