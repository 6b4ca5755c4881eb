-- I4: order per key. Each row of a statement is a violation.

-- The same fact published again under another id is a violation of I2, not of I4.
SELECT format('%s/%s/%s: event %s is number %s of %s (key %s), after number %s', topic, kafka_partition, kafka_offset,
              event_id, aggregate_seq, aggregate, key, before)
FROM (
    SELECT *, max(aggregate_seq) OVER (PARTITION BY topic, key, aggregate ORDER BY kafka_partition, kafka_offset
                                       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM events WHERE aggregate IS NOT NULL
) AS numbered
WHERE aggregate_seq <= before
      AND NOT EXISTS (SELECT FROM events AS other WHERE other.topic = numbered.topic AND other.thing = numbered.thing
                      AND other.event_id <> numbered.event_id);

SELECT format('key %s of %s lies in partitions %s', key, topic, string_agg(DISTINCT kafka_partition::text, ', '))
FROM events WHERE topic NOT LIKE 'candle.%' GROUP BY topic, key HAVING count(DISTINCT kafka_partition) > 1;

-- An aggregate's sequence numbers span several topics. Compacted topics may have dropped some.
SELECT format('%s (key %s) has numbers up to %s, and no event has number %s', aggregate, key, last,
              (SELECT string_agg(number::text, ', ') FROM generate_series(1, last) AS number
               WHERE NOT number = ANY (numbers)))
FROM (
    SELECT key, aggregate, max(aggregate_seq) AS last, array_agg(DISTINCT aggregate_seq) AS numbers
    FROM (SELECT topic, key, aggregate, aggregate_seq FROM events
          UNION ALL SELECT topic, key, aggregate, aggregate_seq FROM written WHERE topic NOT LIKE '%.dlq') AS every
    WHERE topic NOT IN ('user.registered', 'user.updated', 'market.interest', 'quota.changed')
          AND aggregate IS NOT NULL AND aggregate_seq IS NOT NULL
    GROUP BY key, aggregate
) AS numbered
WHERE cardinality(numbers) <> last;

SELECT format('session %s of user %s has numbered %s events, and the last one published is number %s', session_id,
              user_id, event_seq, last)
FROM trading.user_trading_sessions
     JOIN (SELECT aggregate, max(aggregate_seq) AS last
           FROM (SELECT aggregate, aggregate_seq FROM events UNION ALL SELECT aggregate, aggregate_seq FROM written) AS every
           GROUP BY aggregate) AS numbered ON aggregate = 'session:' || session_id
WHERE event_seq <> last;

-- Projections have the highest version that their service has received.
SELECT format('%s: user %s has version %s of the subscription, and received version %s', service, user_id, version,
              highest)
FROM (
    SELECT 'trading' AS service, user_id, subscription_version AS version FROM trading.entitlements
    UNION ALL SELECT 'notifications', user_id, subscription_version FROM notifications.entitlements
    UNION ALL SELECT 'auth', user_id, subscription_version FROM auth.users
) AS projection
     JOIN (SELECT service, key, max(pg_temp.as_number(body ->> 'subscription_version')) AS highest
           FROM due WHERE topic = 'subscription.changed' GROUP BY service, key) AS told
     USING (service)
WHERE key = user_id::text AND version <> highest;
