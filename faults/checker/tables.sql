-- Temporary tables for the statements of each invariant: messages from the topics beside rows of the database.
-- `messages`, `hears` and `explained` are filled before this file runs. The rollback removes all of them.

CREATE FUNCTION pg_temp.as_text(value bytea) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN convert_from(value, 'UTF8');
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$$;
-- With IF, because the planner folds the cast of a known value in a CASE, and fails if it is invalid.
DO $$
DECLARE
    name text;
    kind text;
BEGIN
    FOR name, kind IN VALUES ('json', 'jsonb'), ('uuid', 'uuid'), ('number', 'numeric'), ('time', 'timestamptz') LOOP
        EXECUTE format($f$
            CREATE FUNCTION pg_temp.as_%s(value text) RETURNS %s LANGUAGE plpgsql STABLE AS $b$
            BEGIN
                IF pg_input_is_valid(value, %L) THEN
                    RETURN value::%s;
                END IF;
                RETURN NULL;
            END
            $b$
        $f$, name, kind, kind, kind);
    END LOOP;
END
$$;
CREATE FUNCTION pg_temp.as_ms(value timestamptz) RETURNS text LANGUAGE sql STABLE AS
    $$ SELECT (extract(epoch FROM value) * 1000)::bigint::text $$;

-- A name of these parts. NULL without one of them: a message that lacks it is about nothing.
CREATE FUNCTION pg_temp.named(VARIADIC parts text[]) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$ SELECT CASE WHEN array_position(parts, NULL) IS NULL THEN array_to_string(parts, ' ') END $$;

-- What an event is about, to detect the same fact published under two ids.
CREATE FUNCTION pg_temp.thing_of(topic text, key text, body jsonb) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN topic LIKE 'trade.%' THEN body ->> 'trade_id'
        WHEN topic = 'session.alarmed'
            THEN pg_temp.named(body ->> 'session_id', body ->> 'reason', body ->> 'aggregate_seq')
        WHEN topic LIKE 'session.%' THEN body ->> 'session_id'
        WHEN topic = 'exchange_account.alarmed'
            THEN pg_temp.named(body ->> 'exchange_account_id', body ->> 'aggregate_seq')
        WHEN topic = 'usage.recorded'
            THEN pg_temp.named(body ->> 'user_id', body ->> 'lease_id', body ->> 'kind', body ->> 'window')
        WHEN topic = 'quota.changed' THEN pg_temp.named(body ->> 'user_id', body ->> 'quota_version')
        WHEN topic = 'usage.threshold'
            THEN pg_temp.named(body ->> 'user_id', body ->> 'meter', body ->> 'percent', body ->> 'period_start')
        WHEN topic = 'alert.triggered'
            THEN pg_temp.named(body ->> 'alert_id', pg_temp.as_ms(pg_temp.as_time(body ->> 'open_time')))
        WHEN topic = 'subscription.changed' THEN pg_temp.named(body ->> 'user_id', body ->> 'subscription_version')
        WHEN topic = 'market.interest' THEN pg_temp.named(key, body ->> 'interest_version')
        WHEN topic = 'user.registered' THEN body ->> 'user_id'
        WHEN topic = 'user.updated' THEN pg_temp.named(body ->> 'user_id', body ->> 'aggregate_seq')
        WHEN topic = 'login.ended' THEN body ->> 'login_id'
        WHEN topic = 'activity.recorded' THEN body ->> 'activity_id'
        WHEN topic LIKE 'candle.%'
            THEN pg_temp.named(body ->> 'symbol', body ->> 'interval', body ->> 'generation',
                           pg_temp.as_ms(pg_temp.as_time(body ->> 'open_time')))
    END
$$;

CREATE TEMP TABLE written AS
SELECT service, id, user_id, event_id, topic, key, headers, created_at, sent_at, dead_reason, dropped_at,
       body ->> 'aggregate' AS aggregate, pg_temp.as_number(body ->> 'aggregate_seq') AS aggregate_seq,
       pg_temp.thing_of(topic, key, body) AS thing
FROM (
    SELECT 'auth' AS service, *, pg_temp.as_json(pg_temp.as_text(payload)) AS body FROM auth.outbox
    UNION ALL SELECT 'billing', *, pg_temp.as_json(pg_temp.as_text(payload)) FROM billing.outbox
    UNION ALL SELECT 'trading', *, pg_temp.as_json(pg_temp.as_text(payload)) FROM trading.outbox
    UNION ALL SELECT 'analytics', *, pg_temp.as_json(pg_temp.as_text(payload)) FROM analytics.outbox
    UNION ALL SELECT 'notifications', *, pg_temp.as_json(pg_temp.as_text(payload)) FROM notifications.outbox
) AS outbox;

CREATE TEMP TABLE heard AS
SELECT 'auth' AS service, * FROM auth.inbox
UNION ALL SELECT 'billing', * FROM billing.inbox
UNION ALL SELECT 'trading', * FROM trading.inbox
UNION ALL SELECT 'analytics', * FROM analytics.inbox
UNION ALL SELECT 'notifications', * FROM notifications.inbox;

CREATE TEMP TABLE aside AS
SELECT service, user_id, consumer, event_id, topic, key, state, reason, attempts, kafka_partition, kafka_offset,
       pg_temp.thing_of(topic, key, pg_temp.as_json(pg_temp.as_text(payload))) AS thing
FROM (
    SELECT 'auth' AS service, * FROM auth.parked
    UNION ALL SELECT 'billing', * FROM billing.parked
    UNION ALL SELECT 'trading', * FROM trading.parked
    UNION ALL SELECT 'analytics', * FROM analytics.parked
    UNION ALL SELECT 'notifications', * FROM notifications.parked
) AS parked;

CREATE TEMP TABLE said AS
SELECT topic, kafka_partition, kafka_offset, key, headers::jsonb AS headers, value,
       pg_temp.as_uuid(headers::jsonb ->> 'ce_id') AS event_id, pg_temp.as_json(value) AS body
FROM messages;

-- Each event at its first position, without those that a consumer could not decode (parked by position, not by id).
CREATE TEMP TABLE events AS
SELECT topic, event_id, kafka_partition, kafka_offset, key, headers, body,
       body ->> 'aggregate' AS aggregate, pg_temp.as_number(body ->> 'aggregate_seq') AS aggregate_seq,
       pg_temp.thing_of(topic, key, body) AS thing
FROM (SELECT DISTINCT ON (topic, event_id) * FROM said
      WHERE topic NOT LIKE '%.dlq' AND event_id IS NOT NULL
      ORDER BY topic, event_id, kafka_partition, kafka_offset) AS first
WHERE NOT EXISTS (SELECT FROM aside WHERE aside.topic = first.topic AND aside.kafka_partition = first.kafka_partition
                  AND aside.kafka_offset = first.kafka_offset AND aside.event_id <> first.event_id);

-- The events that each service must have handled: all of the topics it consumes, except parked ones.
CREATE TEMP TABLE due AS
SELECT service, events.* FROM events JOIN hears USING (topic)
WHERE NOT EXISTS (SELECT FROM aside WHERE aside.service = hears.service AND aside.event_id = events.event_id);

CREATE TEMP TABLE spoken AS
SELECT topic, thing FROM written WHERE thing IS NOT NULL UNION SELECT topic, thing FROM events WHERE thing IS NOT NULL;

-- Trades and capital that analytics must have by now. Unsent and parked events are excluded: I5 reports those.
CREATE TEMP TABLE withheld AS
SELECT topic, thing FROM written WHERE sent_at IS NULL
UNION SELECT topic, thing FROM aside WHERE service = 'analytics';

CREATE TEMP TABLE ledger AS
SELECT user_id, trade_id, session_id, CASE WHEN is_paper_trade THEN 'PAPER' ELSE 'LIVE' END AS mode, exit_time, pnl,
       (exit_time AT TIME ZONE timezone)::date AS date
FROM trading.user_trades JOIN auth.users USING (user_id)
WHERE status = 'CLOSED'
      AND NOT EXISTS (SELECT FROM withheld WHERE topic = 'trade.closed' AND thing = trade_id::text);

CREATE TEMP TABLE capital AS
SELECT user_id, CASE WHEN is_paper_trading THEN 'PAPER' ELSE 'LIVE' END AS mode, initial_balance, start_time,
       (start_time AT TIME ZONE timezone)::date AS date
FROM trading.user_trading_sessions JOIN auth.users USING (user_id)
WHERE NOT EXISTS (SELECT FROM withheld WHERE topic = 'session.started' AND thing = session_id::text);

-- Capital that sessions brought in at their start and returned at their end.
CREATE TEMP TABLE flows AS
SELECT user_id, mode, start_time AS moment, date, initial_balance AS amount FROM capital
UNION ALL
SELECT user_id, CASE WHEN is_paper_trading THEN 'PAPER' ELSE 'LIVE' END, end_time,
       (end_time AT TIME ZONE timezone)::date, -final_balance
FROM trading.user_trading_sessions JOIN auth.users USING (user_id)
WHERE status = 'STOPPED' AND end_time IS NOT NULL
      AND NOT EXISTS (SELECT FROM withheld WHERE topic IN ('session.started', 'session.stopped')
                      AND thing = session_id::text);

-- Events that were combined into a digest notification that is stored.
CREATE TEMP TABLE digested AS
SELECT user_id, deliveries.event_id, message_id FROM notifications.deliveries
     JOIN notifications.user_system_events AS message USING (user_id)
WHERE state = 'DIGESTED' AND message.event_id = message_id;

-- What the exchange has of the accounts: orders and executions of its ledger, positions and open orders at the end.
CREATE TEMP TABLE on_exchange AS
SELECT kind, uid, account.user_id, exchange_account_id, body ->> 'symbol' AS symbol, body ->> 'side' AS side,
       body ->> 'order_id' AS order_id, nullif(body ->> 'order_link_id', '') AS link_id,
       body ->> 'order_status' AS status, pg_temp.as_number(body ->> 'cum_exec_qty') AS filled,
       body ->> 'exec_id' AS execution_id, pg_temp.as_number(body ->> 'exec_qty') AS quantity,
       pg_temp.as_number(body ->> 'exec_price') AS price, pg_temp.as_number(body ->> 'exec_fee') AS fee,
       pg_temp.as_number(body ->> 'size') AS size, pg_temp.as_number(body ->> 'stop_loss') AS stop_loss,
       pg_temp.as_number(body ->> 'seq') AS seq
FROM (SELECT kind, uid, entry::jsonb AS body FROM exchange) AS entries
     LEFT JOIN trading.exchange_accounts AS account ON exchange_uid = uid;

CREATE INDEX ON said (topic, event_id);
CREATE INDEX ON events (topic, event_id);
CREATE INDEX ON events (topic, thing);
CREATE INDEX ON written (topic, event_id);
CREATE INDEX ON heard (service, event_id);
CREATE INDEX ON due (service, topic);
CREATE INDEX ON spoken (topic, thing);
ANALYZE written; ANALYZE heard; ANALYZE aside; ANALYZE said; ANALYZE events; ANALYZE due; ANALYZE spoken;
ANALYZE ledger; ANALYZE capital;
