-- Violations that SQL alone can plant. A heading names the invariant and the violation, each `>` line a text that the
-- finding must contain; {a100} stands for the id that ends so, {ANN} and {BOB} for their public ids.

-- I1 a created object is gone
-- > configuration {a002}: call 5
-- > made it, and it is not there
DELETE FROM trading.user_bot_configurations WHERE bot_configuration_id = '{a002}';

-- I1 a created object has another value
-- > configuration {a002}
-- > max_position_size is Decimal('1000.51')
UPDATE trading.user_bot_configurations SET max_position_size = 1000.51;

-- I1 a change is lost
-- > alert {a300}: its alert_name is 'first', and call 12
-- > 'renamed'
UPDATE notifications.user_alerts SET alert_name = 'first' WHERE alert_id = '{a300}';

-- I1 a removed object exists
-- > watch {a201}: call 15
-- > removed it, and it is there
INSERT INTO analytics.watchlist (user_id, watch_id, symbol, interval, ema_period) VALUES (1, '{a201}',
'BTCUSDT', '15', 30);

-- I1 a paused session runs
-- > session {b100}: its status is 'ACTIVE'
-- > 'PAUSED'
UPDATE trading.user_trading_sessions SET status = 'ACTIVE' WHERE user_id = 2;

-- I1 a version is lost
-- > strategy {a001}: call 4
-- > version 2
DELETE FROM trading.strategy_versions WHERE version = 2;

-- I1 a sent dead letter is not on its topic
-- > billing: the dead letter {d001}
INSERT INTO billing.outbox (user_id, bucket, event_id, topic, key, headers, payload, sent_at) VALUES (1, 0,
'{d001}', 'trade.closed.dlq', '1', '{"ce_id": "x", "dlq_group": "billing", "dlq_topic": "trade.closed"}', '', now());

-- I1 an event was not consumed
-- > notifications: event
-- > of session.started/2/0 (key 2) is not in its inbox
DELETE FROM notifications.inbox WHERE user_id = 2 AND event_id IN (SELECT event_id FROM trading.outbox WHERE
topic = 'session.started');

-- I1 a firing was never published
-- > alert {a300} of user 1 fired for the bar of 2026-01-31 09:45
INSERT INTO notifications.alert_firings VALUES (1, '{a300}', '2026-01-31T09:45Z');
UPDATE notifications.user_alerts SET triggered_count = 3 WHERE alert_id = '{a300}';

-- I1 a version of a subscription was never published
-- > version 2 of the subscription of user 2 was never published
UPDATE billing.subscribers SET subscription_version = 2 WHERE user_id = 2;

-- I1 a trade has no fact
-- > analytics: trade {a1001}
-- > has no fact
DELETE FROM analytics.trade_facts WHERE trade_id = '{a1001}';

-- I1 a trade is not booked
-- > billing: trade {a1001}
DELETE FROM billing.usage_ledger WHERE trade_id = '{a1001}';
UPDATE billing.user_subscriptions SET current_period_trades = 1 WHERE user_id < 3;

-- I1 requests are not booked
-- > billing: usage.recorded 1 {a400} other 1
-- > reports 4 requests, and 0 are booked
DELETE FROM billing.api_usage_reports WHERE kind = 'other';
UPDATE billing.user_api_usage SET other_requests = 0;

-- I1 refused requests are booked
-- > reports 4 requests, and 7 are booked
UPDATE billing.api_usage_reports SET requests = 7 WHERE kind = 'other';
UPDATE billing.user_api_usage SET other_requests = 7;

-- I1 a quota was never published
-- > version 2 of the quota of user 1 was never published
UPDATE billing.request_quotas SET version = 2;

-- I1 a session has no fact
-- > the session.stopped of session {a100}
UPDATE analytics.session_facts SET stopped_at = NULL, final_balance = NULL;

-- I1 a firing has no notification
-- > user 1 has no notification that alert {a300} fired
DELETE FROM notifications.user_system_events WHERE data ->> 'open_time' = '2026-01-31T09:15:00.000Z';

-- I1 a stop has no notification
-- > user 1 has no notification of session.stopped of session {a100}
DELETE FROM notifications.user_system_events WHERE event_type = 'SESSION_STOPPED';

-- I1 a digest counts too much
-- > the digest {f001} of user 1 counts 2, and the ledger has 1
INSERT INTO notifications.user_system_events (user_id, event_id, position, timestamp, event_type, event_category, message,
data) VALUES (1, '{f001}', 9, '2026-01-31Z', 'DIGEST', 'ALERT', 'more', '{"count": 2}');
INSERT INTO notifications.deliveries (user_id, event_id, channel, event_type, state, message_id, said_at)
VALUES (1, '{f002}', 'dashboard', 'ALERT_TRIGGERED', 'DIGESTED', '{f001}', '2026-01-31Z');

-- I1 a contact is not known
-- > notifications: user 2
-- > is not known there
DELETE FROM notifications.contacts WHERE user_id = 2;

-- I1 a zone is not known
-- > user 1 is in the zone UTC, not Europe/Rome
UPDATE analytics.user_zones SET timezone = 'UTC' WHERE user_id = 1;

-- I1 a user is not known
-- > analytics: user 2
-- > is not known there
DELETE FROM analytics.user_zones WHERE user_id = 2;

-- I1 a plan is not known
-- > notifications: user 2 has no entitlements there
DELETE FROM notifications.entitlements WHERE user_id = 2;

-- I1 a plan differs from the published one
-- > trading: user 1 has the plan PRO at version 2, which carries PREMIUM
UPDATE trading.entitlements SET plan = 'PRO' WHERE user_id = 1;

-- I1 a limit differs from the published one
-- > trading: user 2 has the limits 1000/5/9
UPDATE trading.entitlements SET max_symbols = 9 WHERE user_id = 2;

-- I2 an object was never requested
-- > no call accounts for watch {b200} of tenant {BOB}; no call is similar
INSERT INTO analytics.watchlist (user_id, watch_id, symbol, interval, ema_period) VALUES (2, '{b200}',
'BTCUSDT', '15', 99);

-- I2 one event had two effects
-- > billing: event
-- > had its effect 2 times, for users 1, 2
INSERT INTO billing.inbox SELECT 2, consumer, event_id, body_sha256 FROM billing.inbox WHERE user_id = 1 LIMIT 1;

-- I2 an event was handled with another body
-- > auth: event
-- > was handled with a body that is not on subscription.changed
UPDATE auth.inbox SET body_sha256 = sha256('other') WHERE user_id = 2;

-- I2 one trade has two facts
-- > analytics: trade {a1001} has 2 facts, for users 1, 2
INSERT INTO analytics.trade_facts SELECT 2, trade_id, '{b100}', mode, symbol, side, strategy_id, strategy_name,
entry_time, exit_time, pnl, fee, reason FROM analytics.trade_facts WHERE trade_id = '{a1001}';

-- I2 one trade is booked twice
-- > billing: trade {a1001} is in the usage ledger 2 times, for users 1, 2
INSERT INTO billing.usage_ledger VALUES (2, '{a1001}', '{b100}', 'PAPER', '2026-03-01Z');

-- I2 an alert counts a firing twice
-- > alert {b300} of user 2 counts 1 firings and has 0
UPDATE notifications.user_alerts SET triggered_count = 1 WHERE user_id = 2;

-- I2 a user was notified twice
-- > user 1 was notified 2 times of SESSION_STOPPED of {a100}
INSERT INTO notifications.user_system_events (user_id, event_id, position, timestamp, event_type, event_category, message,
session_id) SELECT user_id, gen_random_uuid(), 9, timestamp, event_type, event_category, message, session_id FROM
notifications.user_system_events WHERE event_type = 'SESSION_STOPPED';

-- I2 one trade exists twice
-- > trading: trade {a1001} is stored 2 times, for users 1, 2
INSERT INTO trading.user_trades (user_id, trade_id, session_id, strategy_id, strategy_hash, symbol, side, status,
entry_time, entry_price, quantity, is_paper_trade) VALUES (2, '{a1001}', '{b100}', '{b001}', 'hash-b', 'BTCUSDT', 'LONG',
'CANCELLED', '2026-02-03Z', 1, 1, true);

-- I2 one alert fired twice for a bar
-- > alert {a300} fired 2 times for the bar of 2026-01-31 09:15:00+00, for users 1, 2
INSERT INTO notifications.alert_firings VALUES (2, '{a300}', '2026-01-31T09:15Z');

-- I2 two subscriptions are live
-- > user 2 has 2 live subscriptions
DROP INDEX billing.one_live_subscription;
INSERT INTO billing.user_subscriptions (user_id, subscription_id, plan_id, status, reason, start_date,
current_period_start, current_period_end) VALUES (2, gen_random_uuid(), 1, 'ACTIVE', 'granted', '2026-03-01Z',
'2026-03-01Z', '2026-04-01Z');

-- I3 a fact is off by the last decimal
-- > trade {b1001} of user 2: its pnl is 9.89550001 in analytics, 9.8955 in trading
UPDATE analytics.trade_facts SET pnl = pnl + 0.00000001 WHERE user_id = 2;

-- I3 a fact of a trade that is still open
-- > analytics has a fact of trade {b1002} of user 2, which trading has not closed
INSERT INTO analytics.trade_facts SELECT 2, '{b1002}', session_id, mode, symbol, side, strategy_id,
strategy_name, entry_time, exit_time, pnl, fee, reason FROM analytics.trade_facts WHERE user_id = 2;

-- I3 a session began with another balance
-- > session {a100} of user 1: its initial_balance is 10001 in analytics
UPDATE analytics.session_facts SET initial_balance = 10001 WHERE user_id = 1;

-- I3 a day has another pnl
-- > day 2026-01-31 of user 1 (PAPER): its daily_pnl is 19.76900001
UPDATE analytics.user_daily_performance SET daily_pnl = 19.76900001 WHERE user_id = 1 AND date = '2026-01-31';

-- I3 a day starts with another balance
-- > day 2026-02-01 of user 1
-- > its starting_balance is 10000
-- > 10019.769
UPDATE analytics.user_daily_performance SET starting_balance = 10000 WHERE user_id = 1;

-- I3 a day is traded with another capital
-- > day 2026-02-01 of user 1 (PAPER): its capital_at_work is 10019, by trading's trades 10019.769
UPDATE analytics.user_daily_performance SET capital_at_work = 10019 WHERE date = '2026-02-01';

-- I3 a percentage is rounded wrongly
-- > day 2026-01-31 of user 2
-- > daily_pnl_percentage
UPDATE analytics.user_daily_performance SET daily_pnl_percentage = 1.97712287 WHERE user_id = 2;

-- I3 a drawdown is not that deep
-- > day 2026-02-01 of user 1
-- > max_drawdown
UPDATE analytics.user_daily_performance SET max_drawdown = 0.05108153 WHERE date = '2026-02-01';

-- I3 a day is missing
-- > day 2026-01-31 of user 2 (PAPER) is missing
DELETE FROM analytics.user_daily_performance WHERE user_id = 2;

-- I3 a fact ended at another time
-- > trade {b1001} of user 2: its exit_time is 2026-02-03 00:00:00+00 in analytics, 2026-01-31 09:45:00+00 in trading
UPDATE analytics.trade_facts SET exit_time = '2026-02-03Z' WHERE user_id = 2;

-- I3 fills do not give the fee
-- > trade {a1001} of user 1: its fee is 0.231
UPDATE trading.fills SET fee = fee + 0.000000001 WHERE trade_id = '{a1001}' AND action = 'open';

-- I3 fills do not give the quantity
-- > trade {b1002} of user 2: its quantity is 2, by its fills 3
UPDATE trading.fills SET qty = 3 WHERE trade_id = '{b1002}';
CALL pg_temp.write_fingerprints();

-- I3 trades do not give the session
-- > session {a100} of user 1: its total_pnl is 14.65075001
UPDATE trading.user_trading_sessions SET total_pnl = 14.65075001 WHERE user_id = 1;

-- I3 a session ended with another balance
-- > session {a100} of user 1: its final_balance is 1
-- > 10014.65075
UPDATE trading.user_trading_sessions SET final_balance = 1 WHERE user_id = 1;
UPDATE analytics.session_facts SET final_balance = 1 WHERE user_id = 1;

-- I3 a strategy counts another mean
-- > strategy {a001} of user 1
UPDATE trading.user_strategies SET avg_pnl = 7 WHERE user_id = 1;

-- I3 a subscription counts another number
-- > of user 2 counts 2 trades, the ledger of its period has 1
UPDATE billing.user_subscriptions SET current_period_trades = 2 WHERE user_id = 2;

-- I3 usage is booked on another session
-- > trade {b1001} of user 2: session and mode are
UPDATE billing.usage_ledger SET session_id = '{9999}' WHERE user_id = 2;

-- I3 a session was never that high
-- > session {a100} of user 1: its highest_equity is 10019.77, by its trades and fills 10019.769
UPDATE trading.user_trading_sessions SET highest_equity = 10019.77 WHERE user_id = 1;

-- I3 a session was never that low
-- > session {a100} of user 1: its max_drawdown is 0.05108151
UPDATE trading.user_trading_sessions SET max_drawdown = 0.05108151 WHERE user_id = 1;

-- I3 a session counts another number of fills
-- > session {b100} of user 2: its fill_count is 4, by its trades and fills 3
UPDATE trading.user_trading_sessions SET fill_count = 4 WHERE user_id = 2;

-- I3 a fact has another fee
-- > trade {a1002} of user 1: its fee is 0.118250000000000001 in analytics, 0.11825 in trading
UPDATE analytics.trade_facts SET fee = fee + 0.000000000000000001 WHERE trade_id = '{a1002}';

-- I3 a day ends elsewhere
-- > day 2026-01-31 of user 2 (PAPER): its ending_balance is 510.39550001, by trading's trades 510.3955
UPDATE analytics.user_daily_performance SET ending_balance = 510.39550001 WHERE user_id = 2;

-- I3 a day was won more often
-- > day 2026-02-01 of user 1 (PAPER): its win_rate is 0.00000001
UPDATE analytics.user_daily_performance SET win_rate = 0.00000001 WHERE date = '2026-02-01';

-- I3 usage of a trade that is still open
-- > billing has usage of trade {b1002} of user 2, which trading has not closed
INSERT INTO billing.usage_ledger VALUES (2, '{b1002}', '{b100}', 'PAPER', '2026-03-01Z');

-- I3 a day counts requests twice
-- > billing: user 1 has 14 requests on
-- > and its reports have 9
UPDATE billing.user_api_usage SET trading_requests = 10;

-- I4 the last number is missing
-- > session {a100} of user 1 has numbered 7 events, and the last one published is number 6
UPDATE trading.user_trading_sessions SET event_seq = 7 WHERE user_id = 1;

-- I4 a projection went backwards
-- > notifications: user 1 has version 1 of the subscription, and received version 2
UPDATE notifications.entitlements SET subscription_version = 1, plan = 'FREE' WHERE user_id = 1;

-- I5 an event was not sent
-- > trading: outbox row {d001} (market.interest, key trading:X:1)
-- > was not sent
INSERT INTO trading.outbox (user_id, bucket, event_id, topic, key, headers, payload) VALUES (0, 0, '{d001}',
'market.interest', 'trading:X:1', '{"ce_source": "trading", "ce_type": "market.interest"}', '{}');

-- I5 an event can never be sent
-- > auth: outbox row {d001} (user.registered, key 1) is dead: not UTF-8
INSERT INTO auth.outbox (user_id, bucket, event_id, topic, key, headers, payload, dead_reason) VALUES (1, 0,
'{d001}', 'user.registered', '1', '{"ce_source": "auth", "ce_type": "user.registered"}', '\xff', 'not UTF-8');

-- I5 an event is parked WAITING
-- > notifications: event {d001} of alert.triggered/1/99 (key 1) is WAITING
-- > it failed
INSERT INTO notifications.parked (user_id, consumer, event_id, topic, key, headers, payload, kafka_partition,
kafka_offset, reason, state) VALUES (1, 'notifications', '{d001}', 'alert.triggered', '1', '{}', '', 1, 99, 
'it failed', 'WAITING');

-- I5 an event is parked HALTED
-- > notifications: event {d001} of alert.triggered/1/99 (key 1) is HALTED
-- > it failed
INSERT INTO notifications.parked (user_id, consumer, event_id, topic, key, headers, payload, kafka_partition,
kafka_offset, reason, state) VALUES (1, 'notifications', '{d001}', 'alert.triggered', '1', '{}', '', 1, 99, 
'it failed', 'HALTED');

-- I5 an event is parked DEAD
-- > notifications: event {d001} of alert.triggered/1/99 (key 1) is DEAD
-- > it failed
INSERT INTO notifications.parked (user_id, consumer, event_id, topic, key, headers, payload, kafka_partition,
kafka_offset, reason, state) VALUES (1, 'notifications', '{d001}', 'alert.triggered', '1', '{}', '', 1, 99, 
'it failed', 'DEAD');

-- I6 a row refers to another tenant
-- > a restriction of user 1 refers to session {b100}, which is of user 2
INSERT INTO trading.session_restrictions (user_id, session_id, restriction_number, kind) VALUES (1, '{b100}', 1,
'PAUSED');

-- I6 a message refers to another tenant
-- > a notification of user 2 refers to alert {a300}, which is of user 1
INSERT INTO notifications.user_system_events (user_id, event_id, position, timestamp, event_type, event_category, message,
data) VALUES (2, gen_random_uuid(), 9, '2026-01-31Z', 'OTHER', 'ALERT', '', '{"alert_id": "{a300}"}');

-- I6 a row has the public id of another user
-- > notifications.user_alerts: user 2 has the public id {ANN}
UPDATE notifications.user_alerts SET public_id = '{ANN}' WHERE user_id = 2;

-- I6 a locator points to another user
-- > trading: the locator leads from the public id of user 1 to user 2
INSERT INTO trading.user_locator VALUES (sha256(uuid_send('{ANN}')), 2);

-- I6 an outbox row has the key of another user
-- > (session.stopped) of user 2 has the key 1
UPDATE trading.outbox SET user_id = 2 WHERE topic = 'session.stopped';

-- I6 an effect is recorded for another user
-- > billing: the effect of event
-- > (key 1) is recorded for user 2
UPDATE billing.inbox SET user_id = 2 WHERE event_id = (SELECT event_id FROM trading.outbox WHERE topic =
'trade.closed' ORDER BY id LIMIT 1);

-- I6 a table is not restricted to its tenant
-- > trading.user_trades is not restricted to its tenant
ALTER TABLE trading.user_trades NO FORCE ROW LEVEL SECURITY;

-- I7 a bar was never published
-- > the bar of 2026-01-31 10:00:00+00 of BTCUSDT 15 is confirmed and was never published
UPDATE trading.candles SET announced_at = NULL;

-- I7 a session is not stepped
-- > session {b100} of user 2 is running and has no lease
DELETE FROM trading.session_leases WHERE user_id = 2;

-- I7 an order is not settled
-- > order link-3 (target-2) of session {c100} of user 3 is still UNKNOWN
UPDATE trading.order_intents SET state = 'UNKNOWN' WHERE link_id = 'link-3';

-- I2 an execution is booked twice
-- > execution x2 of user 3 has the quantity 2, and 4 of it is booked
INSERT INTO trading.executions SELECT user_id, execution_id, 'foreign', session_id, intent_id, part, reason, order_id,
link_id, parent_link_id, symbol, side, kind, origin, quantity, price, fee, fee_coin, closed_quantity, time, created_at
FROM trading.executions WHERE execution_id = 'x2';

-- I3 a fill has another price than its execution
-- > execution x1 of user 3: its price is booked as 100, by its fill 100.01
UPDATE trading.fills SET price = 100.01 WHERE execution_id = 'x1';
CALL pg_temp.write_fingerprints();

-- I3 an intent misses a part of its order
-- > the order of link link-1 of user 3 is Filled with 3 filled; its intent is FILLED with 2 filled
UPDATE trading.order_intents SET filled = 2 WHERE link_id = 'link-1';

-- I3 an intent ended and its order is open
-- > the order of link link-3 of user 3 is New with 0 filled; its intent is CANCELLED with 0 filled
UPDATE trading.order_intents SET state = 'CANCELLED' WHERE link_id = 'link-3';

-- I3 a fingerprint is not that of the fills
-- > session {a100} of user 1: its fingerprint is 0123, by its fills
UPDATE trading.user_trading_sessions SET fingerprint = '0123' WHERE user_id = 1;
