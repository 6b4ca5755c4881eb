-- I6: no data of one tenant reaches another. Each row of a statement is a violation.

-- Rows that refer to a row of another tenant, within a schema and across schemas. Duplicates belong to I2.
SELECT format('%s of user %s refers to %s %s, which is of user %s', who, refers.user_id, what, refers.id, owner.user_id)
FROM (
    SELECT 'a trade' AS who, 'session' AS what, user_id, session_id AS id FROM trading.user_trades
    UNION SELECT 'a fill', 'session', user_id, session_id FROM trading.fills
    UNION SELECT 'a fill', 'trade', user_id, trade_id FROM trading.fills
    UNION SELECT 'a fill', 'decision', user_id, decision_id FROM trading.fills
    UNION SELECT 'a decision', 'session', user_id, session_id FROM trading.decisions
    UNION SELECT 'a lease', 'session', user_id, session_id FROM trading.session_leases
    UNION SELECT 'a restriction', 'session', user_id, session_id FROM trading.session_restrictions
    UNION SELECT 'a session', 'strategy', user_id, strategy_id FROM trading.user_trading_sessions
    UNION SELECT 'a session', 'configuration', user_id, bot_configuration_id FROM trading.user_trading_sessions
    UNION SELECT 'a version', 'strategy', user_id, strategy_id FROM trading.strategy_versions
    UNION SELECT 'a session fact', 'session', user_id, session_id FROM analytics.session_facts
    UNION SELECT 'a trade fact', 'session', user_id, session_id FROM analytics.trade_facts
    UNION SELECT 'a trade fact', 'trade', min(user_id), trade_id FROM analytics.trade_facts
          GROUP BY trade_id HAVING count(*) = 1
    UNION SELECT 'an analysis', 'watch', user_id, watch_id FROM analytics.user_market_analysis
    UNION SELECT 'a usage', 'session', user_id, session_id FROM billing.usage_ledger
    UNION SELECT 'a usage', 'trade', min(user_id), trade_id FROM billing.usage_ledger
          GROUP BY trade_id HAVING count(*) = 1
    UNION SELECT 'a firing', 'alert', min(user_id), alert_id FROM notifications.alert_firings
          GROUP BY alert_id, open_time HAVING count(*) = 1
    UNION SELECT 'a notification', 'session', user_id, session_id FROM notifications.user_system_events
    UNION SELECT 'a notification', 'alert', user_id, pg_temp.as_uuid(data ->> 'alert_id')
          FROM notifications.user_system_events
    UNION SELECT 'a demand', 'session', user_id, object_id FROM trading.market_interests
    UNION SELECT 'a demand', 'watch', user_id, object_id FROM analytics.market_interests
    UNION SELECT 'a demand', 'alert', user_id, object_id FROM notifications.market_interests
    UNION SELECT 'a refresh token', 'login', user_id, session_id FROM auth.refresh_tokens
) AS refers
     JOIN (
         SELECT 'session' AS what, user_id, session_id AS id FROM trading.user_trading_sessions
         UNION ALL SELECT 'trade', user_id, trade_id FROM trading.user_trades
         UNION ALL SELECT 'decision', user_id, decision_id FROM trading.decisions
         UNION ALL SELECT 'strategy', user_id, strategy_id FROM trading.user_strategies
         UNION ALL SELECT 'configuration', user_id, bot_configuration_id FROM trading.user_bot_configurations
         UNION ALL SELECT 'watch', user_id, watch_id FROM analytics.watchlist
         UNION ALL SELECT 'alert', user_id, alert_id FROM notifications.user_alerts
         UNION ALL SELECT 'login', user_id, session_id FROM auth.user_sessions
     ) AS owner USING (what, id)
GROUP BY who, refers.user_id, what, refers.id, owner.user_id
HAVING refers.user_id <> owner.user_id
       AND NOT EXISTS (SELECT FROM trading.user_trades WHERE what = 'trade' AND trade_id = refers.id
                       GROUP BY trade_id HAVING count(*) > 1);

-- Each user id has one public id.
SELECT format('%s: user %s has the public id %s of another user or of none', who, named.user_id, named.public_id)
FROM (
    SELECT 'billing.subscribers' AS who, user_id, public_id FROM billing.subscribers
    UNION SELECT 'trading.entitlements', user_id, public_id FROM trading.entitlements
    UNION SELECT 'trading.user_trading_sessions', user_id, public_id FROM trading.user_trading_sessions
    UNION SELECT 'notifications.user_alerts', user_id, public_id FROM notifications.user_alerts
) AS named LEFT JOIN auth.users ON users.user_id = named.user_id
WHERE users.public_id IS DISTINCT FROM named.public_id;

SELECT format('%s: the locator leads from the public id of user %s to user %s', service, users.user_id, located.user_id)
FROM (
    SELECT 'auth' AS service, * FROM auth.user_locator
    UNION ALL SELECT 'billing', * FROM billing.user_locator
    UNION ALL SELECT 'trading', * FROM trading.user_locator
    UNION ALL SELECT 'analytics', * FROM analytics.user_locator
    UNION ALL SELECT 'notifications', * FROM notifications.user_locator
) AS located JOIN auth.users ON public_id_sha256 = sha256(uuid_send(public_id))
WHERE users.user_id <> located.user_id;

-- An event belongs to the tenant of its key, and so do the rows that result from it.
SELECT format('%s/%s/%s: event %s has the key %s and is of user %s, public id %s', topic, kafka_partition, kafka_offset,
              event_id, key, body ->> 'user_id', body ->> 'public_id')
FROM events LEFT JOIN auth.users ON user_id::text = key
WHERE topic NOT LIKE 'candle.%' AND topic <> 'market.interest'
      AND event_id::text NOT IN (SELECT event_id FROM explained)
      AND (body ->> 'user_id' IS DISTINCT FROM key OR body ->> 'public_id' IS DISTINCT FROM public_id::text);

SELECT format('%s: outbox row %s (%s) of user %s has the key %s', service, event_id, topic, user_id, key)
FROM written
WHERE topic NOT LIKE 'market.interest%' AND topic NOT LIKE '%.dlq' AND key <> user_id::text;

SELECT format('%s: the effect of event %s (key %s) is recorded for user %s', heard.service, event_id, key, user_id)
FROM heard JOIN due USING (service, event_id)
WHERE key <> user_id::text
      AND (SELECT count(*) FROM heard AS other WHERE other.service = heard.service
           AND other.event_id = heard.event_id) = 1;

-- Row-level security is enabled and forced on every tenant table, partitions included.
SELECT format('%s.%s is not restricted to its tenant by row-level security', nspname, relname)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
     JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'user_id'
WHERE nspname IN ('auth', 'billing', 'trading', 'analytics', 'notifications') AND relkind IN ('r', 'p')
      AND relname NOT LIKE '%\_locator' AND NOT (relrowsecurity AND relforcerowsecurity);
