-- migrate:up
-- A service's outbox takes what the service may send, as itself: its topics, its name as the source, its tenant's key,
-- and the dead letters of what it receives. The lists are those of shared/contracts: see tests/isolation/test_outbox.py.
SET lock_timeout = '5s';
SET statement_timeout = '10min';

DO $$
DECLARE
    service text := current_schema();
    own text[] := CASE current_schema()
        WHEN 'auth' THEN ARRAY['activity.recorded', 'login.ended', 'usage.recorded', 'user.registered', 'user.updated']
        WHEN 'billing' THEN ARRAY['activity.recorded', 'subscription.changed', 'usage.recorded', 'usage.threshold']
        WHEN 'trading' THEN ARRAY['activity.recorded', 'market.interest', 'session.alarmed', 'session.started',
                                  'session.stopped', 'trade.closed', 'trade.opened', 'usage.recorded']
        WHEN 'analytics' THEN ARRAY['activity.recorded', 'market.interest', 'usage.recorded']
        WHEN 'notifications' THEN ARRAY['activity.recorded', 'alert.triggered', 'market.interest', 'usage.recorded']
    END;
    received text[] := CASE current_schema()
        WHEN 'auth' THEN ARRAY['activity.recorded', 'subscription.changed']
        WHEN 'billing' THEN ARRAY['trade.closed', 'usage.recorded', 'user.registered']
        WHEN 'trading' THEN ARRAY['candle.closed', 'candle.opened', 'market.interest', 'subscription.changed']
        WHEN 'analytics' THEN ARRAY['candle.closed', 'session.started', 'session.stopped', 'subscription.changed',
                                    'trade.closed', 'user.registered', 'user.updated']
        WHEN 'notifications' THEN ARRAY['alert.triggered', 'candle.closed', 'session.alarmed', 'session.started',
                                        'session.stopped', 'subscription.changed', 'trade.closed', 'trade.opened',
                                        'usage.threshold', 'user.registered', 'user.updated']
    END;
    dead_letters text[] := ARRAY(SELECT topic || '.dlq' FROM unnest(received) AS topic);
BEGIN
    -- A demand for a series is of the service, not of a user. A dead letter keeps the key and the
    -- source of what came, and names a consumer of this service.
    EXECUTE format(
        $function$
        CREATE FUNCTION outbox_may_send(user_id bigint, topic text, key text, headers jsonb) RETURNS boolean
        LANGUAGE sql IMMUTABLE
        RETURN coalesce(
            CASE
                WHEN topic = 'market.interest' AND topic = ANY (%1$L::text[])
                    THEN headers ->> 'ce_source' = %3$L AND headers ->> 'ce_type' = topic
                         AND user_id = 0 AND split_part(key, ':', 1) = %3$L
                WHEN topic = ANY (%1$L::text[])
                    THEN headers ->> 'ce_source' = %3$L AND headers ->> 'ce_type' = topic AND key = user_id::text
                WHEN topic = ANY (%2$L::text[])
                    THEN starts_with(headers ->> 'dlq_group' || '-', %4$L)
                         AND headers ->> 'dlq_topic' || '.dlq' = topic
            END,
            false
        )
        $function$,
        own, dead_letters, service, service || '-');
    REVOKE ALL ON FUNCTION outbox_may_send FROM PUBLIC;
    EXECUTE format('GRANT EXECUTE ON FUNCTION outbox_may_send TO %I, %I, %I',
                   service || '_app', service || '_worker', service || '_queue');
END
$$;

-- What is there already and is another's to send is let go: it stays to be looked at, and nothing sends it.
UPDATE outbox
SET dead_reason = coalesce(dead_reason, 'not for this service to send'), dropped_at = coalesce(dropped_at, now())
WHERE NOT outbox_may_send(user_id, topic, key, headers);

ALTER TABLE outbox ADD CONSTRAINT outbox_of_this_service CHECK (
    outbox_may_send(user_id, topic, key, headers) OR (dead_reason IS NOT NULL AND dropped_at IS NOT NULL)
) NOT VALID;

-- migrate:down
