-- I1: nothing acknowledged is missing. Each row of a statement is a violation.

-- Marked sent, but not on its topic. A compacted topic may have dropped what a later message of the key replaces.
SELECT format('%s: outbox row %s is marked sent and not on %s (key %s)', service, event_id, topic, key)
FROM written
WHERE sent_at IS NOT NULL AND topic NOT LIKE '%.dlq'
      AND NOT EXISTS (SELECT FROM said WHERE said.topic = written.topic AND said.event_id = written.event_id)
      AND NOT (topic IN ('user.registered', 'user.updated', 'market.interest', 'quota.changed')
               AND EXISTS (SELECT FROM events AS later WHERE later.topic = written.topic AND later.key = written.key
                           AND later.aggregate_seq > written.aggregate_seq));

-- A dead letter carries the headers, and so the id, of the original message.
SELECT format('%s: the dead letter %s is marked sent and not on %s (key %s)', service, event_id, topic, key)
FROM written
WHERE sent_at IS NOT NULL AND topic LIKE '%.dlq'
      AND NOT EXISTS (SELECT FROM said WHERE said.topic = written.topic AND said.headers @> written.headers);

-- Not handled by a service that consumes the topic.
SELECT format('%s: event %s of %s/%s/%s (key %s) is not in its inbox', service, event_id, topic, kafka_partition,
              kafka_offset, key)
FROM due
WHERE NOT EXISTS (SELECT FROM heard WHERE heard.service = due.service AND heard.event_id = due.event_id);

SELECT format('%s: the message at %s/%s/%s has no id and was not parked', service, topic, kafka_partition,
              kafka_offset)
FROM said JOIN hears USING (topic)
WHERE event_id IS NULL
      AND NOT EXISTS (SELECT FROM aside WHERE aside.service = hears.service AND aside.topic = said.topic
                      AND aside.kafka_partition = said.kafka_partition AND aside.kafka_offset = said.kafka_offset);

SELECT DISTINCT format('topic %s is not known to the checker: its messages were not checked', topic)
FROM said
WHERE topic NOT LIKE '%.dlq' AND topic NOT IN (SELECT topic FROM hears)
      AND topic NOT IN ('login.ended', 'market.interest', 'quota.changed', 'candle.opened', 'candle.closed');

-- Happened, but never published.
SELECT format('user %s registered, and its user.registered was never published', user_id) FROM auth.users
WHERE NOT EXISTS (SELECT FROM spoken WHERE topic = 'user.registered' AND thing = user_id::text);

SELECT format('version %s of the subscription of user %s was never published', version, user_id)
FROM billing.subscribers, generate_series(1, subscription_version) AS version
WHERE NOT EXISTS (SELECT FROM spoken WHERE topic = 'subscription.changed' AND thing = concat_ws(' ', user_id, version));

SELECT format('version %s of the quota of user %s was never published', number, user_id)
FROM billing.request_quotas, generate_series(1, version) AS number
WHERE NOT EXISTS (SELECT FROM spoken WHERE topic = 'quota.changed' AND thing = concat_ws(' ', user_id, number));

SELECT format('session %s of user %s is %s, and its %s was never published', session_id, user_id, status, needed)
FROM trading.user_trading_sessions, unnest(ARRAY['session.started', 'session.stopped']) AS needed
WHERE (needed = 'session.started' OR status = 'STOPPED')
      AND NOT EXISTS (SELECT FROM spoken WHERE topic = needed AND thing = session_id::text);

SELECT format('trade %s of user %s is %s, and its %s was never published', trade_id, user_id, status, needed)
FROM trading.user_trades, unnest(ARRAY['trade.opened', 'trade.closed']) AS needed
WHERE status <> 'CANCELLED' AND (needed = 'trade.opened' OR status = 'CLOSED')
      AND NOT EXISTS (SELECT FROM spoken WHERE topic = needed AND thing = trade_id::text);

SELECT format('alert %s of user %s fired for the bar of %s, and its alert.triggered was never published', alert_id,
              user_id, open_time)
FROM notifications.alert_firings
WHERE NOT EXISTS (SELECT FROM spoken WHERE topic = 'alert.triggered'
                  AND thing = concat_ws(' ', alert_id, pg_temp.as_ms(open_time)));

SELECT format('the bar of %s of %s %s is marked published and not on candle.closed', open_time, symbol, interval)
FROM trading.candles JOIN trading.series USING (series_id)
WHERE origin = 'STREAM' AND announced_at > now() - interval '2 days'
      AND NOT EXISTS (SELECT FROM events WHERE topic = 'candle.closed'
                      AND thing = concat_ws(' ', symbol, interval, generation, pg_temp.as_ms(open_time)));

-- Published, but without its effect.
SELECT format('analytics: trade %s (event %s, key %s) has no fact', thing, event_id, key) FROM due
WHERE service = 'analytics' AND topic = 'trade.closed'
      AND NOT EXISTS (SELECT FROM analytics.trade_facts WHERE trade_id::text = thing AND user_id::text = key);

SELECT format('billing: trade %s (event %s, key %s) is not in the usage ledger', thing, event_id, key) FROM due
WHERE service = 'billing' AND topic = 'trade.closed'
      AND NOT EXISTS (SELECT FROM billing.usage_ledger WHERE trade_id::text = thing AND user_id::text = key);

SELECT format('billing: usage.recorded %s (event %s, key %s) reports %s requests, and %s are booked', thing, event_id,
              key, used, coalesce(requests, 0))
FROM (
    SELECT *, pg_temp.as_number(body ->> 'count') - coalesce((
               SELECT sum(pg_temp.as_number(refusal ->> 'count'))
               FROM jsonb_array_elements(CASE jsonb_typeof(body -> 'refusals') WHEN 'array' THEN body -> 'refusals' END)
                    AS refusal), 0) AS used
    FROM due WHERE service = 'billing' AND topic = 'usage.recorded'
) AS reported
     LEFT JOIN billing.api_usage_reports
         ON user_id::text = key AND instance = pg_temp.as_uuid(body ->> 'lease_id') AND kind = body ->> 'kind'
            AND window_number = pg_temp.as_number(body ->> 'window')
WHERE used <> coalesce(requests, 0);

SELECT format('analytics: the %s of session %s (event %s, key %s) has no fact', topic, thing, event_id, key) FROM due
WHERE service = 'analytics' AND topic LIKE 'session.%'
      AND NOT EXISTS (SELECT FROM analytics.session_facts WHERE session_id::text = thing AND user_id::text = key
                      AND CASE topic WHEN 'session.started' THEN started_at ELSE stopped_at END IS NOT NULL);

SELECT format('notifications: user %s has no notification of %s of session %s (event %s)', key, topic, thing, event_id)
FROM due
WHERE service = 'notifications' AND topic IN ('session.started', 'session.stopped')
      AND NOT EXISTS (SELECT FROM notifications.user_system_events WHERE user_id::text = key
                      AND session_id::text = thing AND event_type = upper(replace(topic, '.', '_')))
      AND NOT EXISTS (SELECT FROM digested WHERE user_id::text = key AND digested.event_id = due.event_id);

SELECT format('notifications: user %s has no notification of the alarm of session %s (event %s)', key,
              body ->> 'session_id', event_id)
FROM due
WHERE service = 'notifications' AND topic = 'session.alarmed'
      AND NOT EXISTS (SELECT FROM notifications.user_system_events WHERE user_id::text = key
                      AND session_id::text = body ->> 'session_id' AND event_type = 'SESSION_ALARMED')
      AND NOT EXISTS (SELECT FROM digested WHERE user_id::text = key AND digested.event_id = due.event_id);

SELECT format('notifications: user %s has no notification of the alarm of exchange account %s (event %s)', key,
              body ->> 'exchange_account_id', event_id)
FROM due
WHERE service = 'notifications' AND topic = 'exchange_account.alarmed'
      AND NOT EXISTS (SELECT FROM notifications.user_system_events WHERE user_id::text = key
                      AND data ->> 'exchange_account_id' = body ->> 'exchange_account_id'
                      AND event_type = 'EXCHANGE_ACCOUNT_ALARMED')
      AND NOT EXISTS (SELECT FROM digested WHERE user_id::text = key AND digested.event_id = due.event_id);

SELECT format('notifications: user %s has no notification that alert %s fired (event %s)', key, body ->> 'alert_id',
              event_id)
FROM due
WHERE service = 'notifications' AND topic = 'alert.triggered' AND body -> 'channels' ? 'dashboard'
      AND NOT EXISTS (SELECT FROM notifications.user_system_events WHERE user_id::text = key
                      AND thing = concat_ws(' ', data ->> 'alert_id',
                                            pg_temp.as_ms(pg_temp.as_time(data ->> 'open_time'))))
      AND NOT EXISTS (SELECT FROM digested WHERE user_id::text = key AND digested.event_id = due.event_id);

-- A digest counts as many notifications as the ledger has in it.
SELECT format('notifications: the digest %s of user %s counts %s, and the ledger has %s', message.event_id,
              message.user_id, data ->> 'count', count(digested.event_id))
FROM notifications.user_system_events AS message
     LEFT JOIN digested ON digested.user_id = message.user_id AND digested.message_id = message.event_id
WHERE event_type = 'DIGEST'
GROUP BY message.user_id, message.event_id, data HAVING (data ->> 'count')::bigint <> count(digested.event_id);

SELECT format('auth: activity %s (event %s, key %s) is not in the log', thing, event_id, key) FROM due
WHERE service = 'auth' AND topic = 'activity.recorded'
      AND NOT EXISTS (SELECT FROM auth.user_activity_log WHERE activity_id::text = thing AND user_id::text = key);

SELECT format('%s: user %s (event %s) is not known there', service, key, event_id) FROM due
WHERE topic = 'user.registered'
      AND NOT EXISTS (SELECT FROM billing.subscribers WHERE service = 'billing' AND user_id::text = key)
      AND NOT EXISTS (SELECT FROM analytics.user_zones WHERE service = 'analytics' AND user_id::text = key)
      AND NOT EXISTS (SELECT FROM notifications.contacts WHERE service = 'notifications' AND user_id::text = key);

SELECT format('analytics: user %s is in the zone %s, not %s', user_id, zone.timezone, owner.timezone)
FROM analytics.user_zones AS zone JOIN auth.users AS owner USING (user_id)
WHERE zone.timezone <> owner.timezone
      AND EXISTS (SELECT FROM due WHERE service = 'analytics' AND topic = 'user.registered' AND key = user_id::text);

SELECT DISTINCT format('%s: user %s has no entitlements there', service, key) FROM due
WHERE topic = 'subscription.changed'
      AND NOT EXISTS (SELECT FROM trading.entitlements WHERE service = 'trading' AND user_id::text = key)
      AND NOT EXISTS (SELECT FROM notifications.entitlements WHERE service = 'notifications' AND user_id::text = key)
      AND NOT EXISTS (SELECT FROM analytics.entitlements WHERE service = 'analytics' AND user_id::text = key)
      AND NOT EXISTS (SELECT FROM auth.users WHERE service = 'auth' AND user_id::text = key);

SELECT format('%s: user %s has the plan %s at version %s, which carries %s', service, user_id, plan, version,
              body ->> 'plan')
FROM (
    SELECT 'trading' AS service, user_id, subscription_version AS version, plan FROM trading.entitlements
    UNION ALL SELECT 'notifications', user_id, subscription_version, plan FROM notifications.entitlements
    UNION ALL SELECT 'auth', user_id, subscription_version, subscription_tier FROM auth.users
) AS projection JOIN events ON topic = 'subscription.changed' AND thing = concat_ws(' ', user_id, version)
WHERE plan IS DISTINCT FROM body ->> 'plan';

SELECT format('trading: user %s has the limits %s at version %s, which carries %s', user_id,
              concat_ws('/', coalesce(max_trades_per_month::text, '-'), coalesce(max_active_strategies::text, '-'),
                        coalesce(max_symbols::text, '-')),
              subscription_version, body -> 'limits')
FROM trading.entitlements
     JOIN events ON topic = 'subscription.changed' AND thing = concat_ws(' ', user_id, subscription_version)
WHERE (max_trades_per_month, max_active_strategies, max_symbols) IS DISTINCT FROM
      (pg_temp.as_number(body #>> '{limits,max_trades_per_month}'),
       pg_temp.as_number(body #>> '{limits,max_active_strategies}'), pg_temp.as_number(body #>> '{limits,max_symbols}'));

-- Everything that was executed is booked, and every order on the exchange is of an intent.
SELECT format('execution %s of %s on account %s of user %s is not booked', execution_id, symbol, uid, user_id)
FROM on_exchange
WHERE kind = 'execution'
      AND NOT EXISTS (SELECT FROM trading.executions AS booked WHERE booked.user_id = on_exchange.user_id
                      AND booked.execution_id = on_exchange.execution_id);

SELECT DISTINCT format('no intent accounts for order %s (link %s) on account %s of user %s', order_id, link_id, uid,
                       user_id)
FROM on_exchange
WHERE kind = 'order' AND link_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM trading.order_intents AS intent WHERE intent.user_id = on_exchange.user_id
                      AND intent.link_id = on_exchange.link_id);
