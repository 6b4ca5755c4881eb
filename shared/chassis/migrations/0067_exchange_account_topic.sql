-- migrate:up
-- Trading may publish exchange_account.alarmed, which notifications consumes. The lists are those of shared/contracts:
-- see tests/isolation/test_outbox.py.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

DO $$
DECLARE
    service text := current_schema();
    own text[] := CASE current_schema()
        WHEN 'trading' THEN ARRAY['activity.recorded', 'exchange_account.alarmed', 'market.interest', 'session.alarmed',
                                  'session.started', 'session.stopped', 'trade.closed', 'trade.opened',
                                  'usage.recorded']
        WHEN 'notifications' THEN ARRAY['activity.recorded', 'alert.triggered', 'market.interest', 'usage.recorded']
    END;
    received text[] := CASE current_schema()
        WHEN 'trading' THEN ARRAY['candle.closed', 'candle.opened', 'market.interest', 'subscription.changed']
        WHEN 'notifications' THEN ARRAY['alert.triggered', 'candle.closed', 'exchange_account.alarmed',
                                        'session.alarmed', 'session.started', 'session.stopped',
                                        'subscription.changed', 'trade.closed', 'trade.opened', 'usage.threshold',
                                        'user.registered', 'user.updated']
    END;
    dead_letters text[] := ARRAY(SELECT topic || '.dlq' FROM unnest(received) AS topic);
BEGIN
    IF own IS NULL THEN
        RETURN;
    END IF;
    EXECUTE format(
        $function$
        CREATE OR REPLACE FUNCTION outbox_may_send(user_id bigint, topic text, key text, headers jsonb) RETURNS boolean
        LANGUAGE sql IMMUTABLE
        RETURN coalesce(
            CASE
                WHEN topic = 'market.interest'
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
END
$$;

-- migrate:down
