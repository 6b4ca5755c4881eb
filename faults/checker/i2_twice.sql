-- I2: nothing happened twice. Each row of a statement is a violation.

SELECT format('%s of %s (key %s) was published %s times, as events %s', topic, thing, min(key), count(*),
              string_agg(event_id::text, ', ' ORDER BY event_id))
FROM events WHERE thing IS NOT NULL GROUP BY topic, thing HAVING count(*) > 1;

SELECT format('%s: event %s had its effect %s times, for users %s', service, event_id, count(*),
              string_agg(user_id::text, ', ' ORDER BY user_id))
FROM heard GROUP BY service, consumer, event_id HAVING count(*) > 1;

-- A second body under the same id is refused, so the handled body must be one that was published.
SELECT format('%s: event %s was handled with a body that is not on %s', heard.service, heard.event_id, min(said.topic))
FROM heard JOIN said USING (event_id)
WHERE position(U&'\FFFD' IN said.value) = 0
GROUP BY heard.service, heard.event_id
HAVING NOT bool_or(heard.body_sha256 = sha256(convert_to(said.value, 'UTF8')));

SELECT format('trading: trade %s is stored %s times, for users %s', trade_id, count(*),
              string_agg(user_id::text, ', ' ORDER BY user_id))
FROM trading.user_trades GROUP BY trade_id HAVING count(*) > 1;

SELECT format('analytics: trade %s has %s facts, for users %s', trade_id, count(*),
              string_agg(user_id::text, ', ' ORDER BY user_id))
FROM analytics.trade_facts GROUP BY trade_id HAVING count(*) > 1;

SELECT format('billing: trade %s is in the usage ledger %s times, for users %s', trade_id, count(*),
              string_agg(user_id::text, ', ' ORDER BY user_id))
FROM billing.usage_ledger GROUP BY trade_id HAVING count(*) > 1;

SELECT format('alert %s fired %s times for the bar of %s, for users %s', alert_id, count(*), open_time,
              string_agg(user_id::text, ', ' ORDER BY user_id))
FROM notifications.alert_firings GROUP BY alert_id, open_time HAVING count(*) > 1;

SELECT format('alert %s of user %s counts %s firings and has %s', alert_id, user_id, triggered_count,
              count(open_time))
FROM notifications.user_alerts LEFT JOIN notifications.alert_firings USING (user_id, alert_id)
GROUP BY user_id, alert_id HAVING triggered_count <> count(open_time);

SELECT format('user %s was notified %s times of %s of %s', user_id, count(*), event_type, about)
FROM (
    SELECT user_id, event_type, coalesce(session_id::text, concat_ws(' ', data ->> 'alert_id', data ->> 'open_time'))
                                AS about
    FROM notifications.user_system_events
    WHERE event_type IN ('ALERT_TRIGGERED', 'SESSION_STARTED', 'SESSION_STOPPED')
) AS message
GROUP BY user_id, event_type, about HAVING count(*) > 1;

SELECT format('the e-mail of user %s belongs to %s users: %s', min(user_id), count(*),
              string_agg(user_id::text, ', ' ORDER BY user_id))
FROM auth.users GROUP BY lower(email) HAVING count(*) > 1;

SELECT format('user %s has %s live subscriptions', user_id, count(*))
FROM billing.user_subscriptions WHERE status IN ('ACTIVE', 'TRIAL', 'PAST_DUE')
GROUP BY user_id HAVING count(*) > 1;

SELECT format('the intent of link %s of user %s has %s orders on account %s: %s', link_id, user_id,
              count(DISTINCT order_id), uid, string_agg(DISTINCT order_id, ', ' ORDER BY order_id))
FROM on_exchange WHERE kind = 'order' AND link_id IS NOT NULL
GROUP BY uid, user_id, link_id HAVING count(DISTINCT order_id) > 1;

SELECT format('execution %s of user %s has the quantity %s, and %s of it is booked', execution_id, user_id,
              min(on_exchange.quantity), sum(part))
FROM on_exchange JOIN trading.executions AS booked USING (user_id, execution_id)
WHERE on_exchange.kind = 'execution'
GROUP BY user_id, execution_id HAVING sum(part) <> min(on_exchange.quantity);
