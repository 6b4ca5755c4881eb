-- Two tenants and the effects of their calls: a small world in which every invariant holds.
-- Ann (1, in Rome) has a session that stopped after two trades; the second one closed on the next day in her time zone.
-- Bob (2) has a running session, with one closed trade and one open.
-- Cat (3) trades live: an entry that filled in two parts, a target that filled, and one that rests.
SET session_replication_role = replica;

INSERT INTO auth.users (user_id, public_id, email, password_hash, timezone, language, subscription_tier, subscription_version)
VALUES (1, '019c0000-0000-7000-8000-0000000000a1', 'ann@example.org', 'x', 'Europe/Rome', 'it', 'PREMIUM', 2),
       (2, '019c0000-0000-7000-8000-0000000000b2', 'bob@example.org', 'x', 'UTC', 'en', 'PREMIUM', 1),
       (3, '019c0000-0000-7000-8000-0000000000c3', 'cat@example.org', 'x', 'UTC', 'en', 'PREMIUM', 1);
INSERT INTO auth.user_sessions (user_id, session_id, session_token, refresh_token, expires_at)
VALUES (1, '019c0000-0000-7000-8000-00000000a0a0', sha256('a'), sha256('b'), '2026-03-01Z');
INSERT INTO auth.user_locator SELECT sha256(uuid_send(public_id)), user_id FROM auth.users;

INSERT INTO billing.subscribers (user_id, public_id, subscription_version)
SELECT user_id, public_id, subscription_version FROM auth.users;
INSERT INTO billing.user_subscriptions (user_id, subscription_id, plan_id, status, reason, start_date,
                                        current_period_start, current_period_end, current_period_trades)
SELECT user_id, gen_random_uuid(), 2, 'ACTIVE', 'granted', '2026-01-01Z', '2026-01-01Z', '2026-02-01Z',
       CASE WHEN user_id < 3 THEN 1 ELSE 0 END
FROM auth.users;
INSERT INTO billing.usage_ledger (user_id, trade_id, session_id, mode, occurred_at) VALUES
    (1, '019c0000-0000-7000-8000-0000000a1001', '019c0000-0000-7000-8000-00000000a100', 'PAPER', '2026-01-31T09:30Z'),
    (1, '019c0000-0000-7000-8000-0000000a1002', '019c0000-0000-7000-8000-00000000a100', 'PAPER', '2026-02-01T00:10Z'),
    (2, '019c0000-0000-7000-8000-0000000b1001', '019c0000-0000-7000-8000-00000000b100', 'PAPER', '2026-01-31T09:45Z');

INSERT INTO billing.api_usage_reports (user_id, instance, kind, window_number, date, requests) VALUES
    (1, '019c0000-0000-7000-8000-00000000a400', 'trading', 1, current_date, 5),
    (1, '019c0000-0000-7000-8000-00000000a400', 'other', 1, current_date, 4);
INSERT INTO billing.user_api_usage (user_id, date, trading_requests, other_requests) VALUES (1, current_date, 5, 4);
INSERT INTO billing.request_quotas VALUES (1, 1, 'EXHAUSTED', current_date + 1, 9, 9);

INSERT INTO trading.entitlements (user_id, public_id, subscription_version, plan, status, max_trades_per_month,
                                  max_active_strategies, max_symbols)
SELECT user_id, public_id, subscription_version, 'PREMIUM', 'ACTIVE', 1000, 5, NULL FROM auth.users;
INSERT INTO trading.user_strategies (user_id, strategy_id, strategy_name, strategy_config, entry_conditions,
                                     risk_management, content_hash, version, total_uses, win_rate, avg_pnl) VALUES
    (1, '019c0000-0000-7000-8000-00000000a001', 'Crossing 2', '{"interval": "15"}', '{"left": "fast"}', '{}', 'hash-2', 2,
     2, 50.000000, 7.32537500),
    (2, '019c0000-0000-7000-8000-00000000b001', 'Fading', '{"interval": "15"}', '{"left": "slow"}', '{}', 'hash-b', 1,
     1, 100.000000, 9.89550000),
    (3, '019c0000-0000-7000-8000-00000000c001', 'Live', '{"interval": "15"}', '{"left": "fast"}', '{}', 'hash-c', 1,
     0, NULL, NULL);
INSERT INTO trading.strategy_versions (user_id, strategy_id, version, content_hash, document) VALUES
    (1, '019c0000-0000-7000-8000-00000000a001', 1, 'hash-1', '{}'),
    (1, '019c0000-0000-7000-8000-00000000a001', 2, 'hash-2', '{}'),
    (2, '019c0000-0000-7000-8000-00000000b001', 1, 'hash-b', '{}'),
    (3, '019c0000-0000-7000-8000-00000000c001', 1, 'hash-c', '{}');
INSERT INTO trading.user_bot_configurations (user_id, bot_configuration_id, config_name, config_data, max_position_size)
VALUES (1, '019c0000-0000-7000-8000-00000000a002', 'limits', '{"note": "mine"}', 1000.50);

INSERT INTO trading.user_trading_sessions (user_id, session_id, public_id, strategy_id, strategy_version, strategy_hash,
    venue, symbol, interval, strategy_config, is_paper_trading, status, start_time, initial_balance, final_balance,
    fee_rate, slippage, total_trades, winning_trades, losing_trades, total_pnl, highest_equity, max_drawdown, fill_count, event_seq)
VALUES
    (1, '019c0000-0000-7000-8000-00000000a100', '019c0000-0000-7000-8000-0000000000a1',
     '019c0000-0000-7000-8000-00000000a001', 1, 'hash-1', 'bybit', 'BTCUSDT', '15', '{}', true, 'STOPPED',
     '2026-01-31T09:00Z', 10000, 10014.65075, 0.00055, 0, 2, 1, 1, 14.65075, 10019.769, 0.05108152, 4, 6),
    (2, '019c0000-0000-7000-8000-00000000b100', '019c0000-0000-7000-8000-0000000000b2',
     '019c0000-0000-7000-8000-00000000b001', 1, 'hash-b', 'bybit', 'BTCUSDT', '15', '{}', true, 'PAUSED',
     '2026-01-31T09:00Z', 500.50, NULL, 0.00055, 0, 1, 1, 0, 9.8955, 510.3955, 0, 3, 4),
    (3, '019c0000-0000-7000-8000-00000000c100', '019c0000-0000-7000-8000-0000000000c3',
     '019c0000-0000-7000-8000-00000000c001', 1, 'hash-c', 'bybit', 'BTCUSDT', '15', '{}', false, 'ACTIVE',
     '2026-01-31T09:00Z', 1000, NULL, 0.00055, 0, 0, 0, 0, 0, 1000, 0, 3, 2);
INSERT INTO trading.exchange_accounts (user_id, exchange_account_id, public_id, account_name, environment, region,
    product, exchange_uid, status, refusals, key_hash, masked_api_key, permissions, addresses, is_third_party, margin_mode,
    kyc_region, checked_at)
VALUES (3, '019c0000-0000-7000-8000-00000000c500', '019c0000-0000-7000-8000-00000000c500', 'bots', 'SANDBOX', 'GLOBAL',
        'LINEAR', '700', 'READY', '[]', sha256('c'), 'x', '[]', '[]', false, 'REGULAR_MARGIN', 'X', now());
UPDATE trading.user_trading_sessions SET exchange_account_id = '019c0000-0000-7000-8000-00000000c500' WHERE user_id = 3;
INSERT INTO trading.session_leases (user_id, session_id) VALUES (2, '019c0000-0000-7000-8000-00000000b100'),
                                                                (3, '019c0000-0000-7000-8000-00000000c100');
INSERT INTO trading.user_trades (user_id, trade_id, session_id, strategy_id, strategy_hash, symbol, side, status, entry_time,
    exit_time, entry_price, exit_price, quantity, gross_pnl, pnl, fee, pnl_percentage, is_paper_trade)
VALUES
    (1, '019c0000-0000-7000-8000-0000000a1001', '019c0000-0000-7000-8000-00000000a100',
     '019c0000-0000-7000-8000-00000000a001', 'hash-1', 'BTCUSDT', 'LONG', 'CLOSED', '2026-01-31T09:15Z',
     '2026-01-31T09:30Z', 100, 110, 2, 20, 19.769, 0.231, 9.8845, true),
    (1, '019c0000-0000-7000-8000-0000000a1002', '019c0000-0000-7000-8000-00000000a100',
     '019c0000-0000-7000-8000-00000000a001', 'hash-1', 'BTCUSDT', 'LONG', 'CLOSED', '2026-01-31T23:15Z',
     '2026-01-31T23:30Z', 110, 105, 1, -5, -5.11825, 0.11825, -4.65295455, true),
    (2, '019c0000-0000-7000-8000-0000000b1001', '019c0000-0000-7000-8000-00000000b100',
     '019c0000-0000-7000-8000-00000000b001', 'hash-b', 'BTCUSDT', 'SHORT', 'CLOSED', '2026-01-31T09:30Z',
     '2026-01-31T09:45Z', 100, 90, 1, 10, 9.8955, 0.1045, 9.8955, true),
    (2, '019c0000-0000-7000-8000-0000000b1002', '019c0000-0000-7000-8000-00000000b100',
     '019c0000-0000-7000-8000-00000000b001', 'hash-b', 'BTCUSDT', 'SHORT', 'OPEN', '2026-01-31T10:00Z',
     NULL, 95, NULL, 2, NULL, NULL, 0.1045, NULL, true),
    (3, '019c0000-0000-7000-8000-0000000c1001', '019c0000-0000-7000-8000-00000000c100',
     '019c0000-0000-7000-8000-00000000c001', 'hash-c', 'BTCUSDT', 'LONG', 'OPEN', '2026-01-31T09:15Z',
     NULL, 100, NULL, 3, NULL, NULL, 0.165, NULL, false);
INSERT INTO trading.fills (user_id, session_id, fill_number, trade_id, time, action, side, qty, price, fee, reason)
SELECT user_id, session_id, 2 * number - 1, trade_id, entry_time, 'open', side, quantity, entry_price,
       entry_price * quantity * 0.00055, 'entry'
FROM (SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY entry_time) AS number FROM trading.user_trades) AS trade
WHERE is_paper_trade;
INSERT INTO trading.fills (user_id, session_id, fill_number, trade_id, time, action, side, qty, price, fee, reason)
SELECT user_id, session_id, 2 * number, trade_id, exit_time, 'close', side, quantity, exit_price,
       exit_price * quantity * 0.00055, 'signal'
FROM (SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY entry_time) AS number FROM trading.user_trades) AS trade
WHERE status = 'CLOSED';
INSERT INTO trading.order_intents (user_id, intent_id, session_id, exchange_account_id, symbol, link_id, bar, leg, attempt,
    side, quantity, price, reduce_only, reason, strategy_hash, epoch, created_at, state, sent_at, filled, notional, fee)
SELECT 3, gen_random_uuid(), '019c0000-0000-7000-8000-00000000c100', '019c0000-0000-7000-8000-00000000c500', 'BTCUSDT',
       link_id, '2026-01-31T09:00Z', leg, 1, side, quantity, price, leg <> 'entry', 'x', 'hash-c', 1, '2026-01-31T09:15Z',
       state, '2026-01-31T09:15Z', filled, filled * 100, 0
FROM (VALUES ('link-1', 'entry', 'BUY', 3, NULL, 'FILLED', 3), ('link-2', 'target-1', 'SELL', 1, 101, 'FILLED', 1),
             ('link-3', 'target-2', 'SELL', 2, 102, 'ACKED', 0))
     AS intent (link_id, leg, side, quantity, price, state, filled);
INSERT INTO trading.executions (user_id, execution_id, effect, session_id, part, order_id, link_id, symbol, side, kind,
    origin, quantity, price, fee, fee_coin, closed_quantity, time)
SELECT 3, execution_id, effect, '019c0000-0000-7000-8000-00000000c100', quantity, order_id, link_id, 'BTCUSDT', side,
       'TRADE', 'REQUEST', quantity, 100, 0, 'USDT', 0, '2026-01-31T09:15Z'
FROM (VALUES ('x1', 'entry', 'o1', 'link-1', 'BUY', 1), ('x2', 'entry', 'o1', 'link-1', 'BUY', 2),
             ('x3', 'close', 'o2', 'link-2', 'SELL', 1)) AS execution (execution_id, effect, order_id, link_id, side, quantity);
INSERT INTO trading.fills (user_id, session_id, fill_number, trade_id, time, action, side, qty, price, fee, reason,
                           execution_id)
SELECT 3, session_id, row_number() OVER (ORDER BY execution_id), '019c0000-0000-7000-8000-0000000c1001', time,
       CASE effect WHEN 'entry' THEN 'open' ELSE 'close' END, 'LONG', part, price, fee, 'x', execution_id
FROM trading.executions;
CREATE PROCEDURE pg_temp.write_fingerprints() LANGUAGE sql AS $$
    UPDATE trading.user_trading_sessions AS session SET fingerprint = encode(sha256(convert_to(
        (SELECT string_agg(concat_ws(',', (extract(epoch FROM time) * 1000)::bigint, action, side, trim_scale(qty),
                                     trim_scale(price), reason) || chr(10), '' ORDER BY fill_number)
         FROM trading.fills AS fill WHERE fill.session_id = session.session_id), 'UTF8')), 'hex')
$$;
CALL pg_temp.write_fingerprints();
INSERT INTO trading.series (venue, symbol, interval) VALUES ('bybit', 'BTCUSDT', '15');
INSERT INTO trading.candles (series_id, open_time, open, high, low, close, volume, origin, announced_at)
SELECT series_id, '2026-01-31T10:00Z', 95, 96, 94, 95.5, 12.25, 'STREAM', now() FROM trading.series;

INSERT INTO analytics.user_zones (user_id, timezone) SELECT user_id, timezone FROM auth.users;
INSERT INTO analytics.session_facts
    (user_id, session_id, mode, symbol, initial_balance, final_balance, started_at, stopped_at)
SELECT user_id, session_id, CASE WHEN is_paper_trading THEN 'PAPER' ELSE 'LIVE' END, symbol, initial_balance,
       final_balance, start_time,
       CASE WHEN status = 'STOPPED' THEN timestamptz '2026-01-31T23:45Z' END
FROM trading.user_trading_sessions;
INSERT INTO analytics.trade_facts
SELECT user_id, trade_id, session_id, 'PAPER', symbol, side, strategy_id, 'a name', entry_time, exit_time, pnl, fee, 'signal'
FROM trading.user_trades WHERE status = 'CLOSED';
INSERT INTO analytics.user_daily_performance (user_id, mode, date, timezone, starting_balance, ending_balance,
    capital_at_work, daily_pnl, daily_pnl_percentage, total_trades, winning_trades, losing_trades, win_rate, max_drawdown)
VALUES (1, 'PAPER', '2026-01-31', 'Europe/Rome', 10000, 10019.769, 10000, 19.769, 0.19769, 1, 1, 0, 100, 0),
       (1, 'PAPER', '2026-02-01', 'Europe/Rome', 10019.769, 10014.65075, 10019.769, -5.11825, -0.05108152, 1, 0, 1, 0, 0.05108152),
       (2, 'PAPER', '2026-01-31', 'UTC', 500.50, 510.3955, 500.50, 9.8955, 1.97712288, 1, 1, 0, 100, 0);
INSERT INTO analytics.watchlist (user_id, watch_id, symbol, interval, ema_period)
VALUES (1, '019c0000-0000-7000-8000-00000000a200', 'BTCUSDT', '15', 20);

INSERT INTO notifications.contacts (user_id, contact_version, email, language, timezone, is_active)
SELECT user_id, 1, email, language, timezone, true FROM auth.users;
INSERT INTO analytics.entitlements (user_id, subscription_version, plan)
SELECT user_id, subscription_version, 'PREMIUM' FROM auth.users;
INSERT INTO notifications.entitlements (user_id, subscription_version, plan, telegram_alerts)
SELECT user_id, subscription_version, 'PREMIUM', true FROM auth.users;
INSERT INTO notifications.user_alerts (user_id, alert_id, public_id, alert_name, symbol, interval, alert_type,
                                       condition_data, triggered_count) VALUES
    (1, '019c0000-0000-7000-8000-00000000a300', '019c0000-0000-7000-8000-0000000000a1', 'renamed', 'BTCUSDT', '15',
     'PRICE', '{"op": "above", "value": "100"}', 2),
    (1, '019c0000-0000-7000-8000-00000000a301', '019c0000-0000-7000-8000-0000000000a1', 'another', 'BTCUSDT', '15',
     'PRICE', '{"op": "below", "value": "1"}', 0),
    (2, '019c0000-0000-7000-8000-00000000b300', '019c0000-0000-7000-8000-0000000000b2', 'of Bob', 'BTCUSDT', '15',
     'PRICE', '{"op": "below", "value": "1"}', 0);
INSERT INTO notifications.alert_firings (user_id, alert_id, open_time) VALUES
    (1, '019c0000-0000-7000-8000-00000000a300', '2026-01-31T09:15Z'),
    (1, '019c0000-0000-7000-8000-00000000a300', '2026-01-31T09:30Z');
SET search_path = notifications;
SELECT prepare_inbox_month('2026-01-31Z');
RESET search_path;
INSERT INTO notifications.user_system_events (user_id, event_id, position, timestamp, event_type, event_category,
                                              message, data)
SELECT user_id, gen_random_uuid(), 1, '2026-01-31T09:45Z', 'ALERT_TRIGGERED', 'ALERT', 'it fired',
       jsonb_build_object('alert_id', alert_id, 'open_time', to_char(open_time, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
FROM notifications.alert_firings;
INSERT INTO notifications.user_system_events (user_id, event_id, position, timestamp, event_type, event_category,
                                              message, session_id)
SELECT user_id, gen_random_uuid(), 2, start_time, 'SESSION_STARTED', 'TRADING', 'it began', session_id
FROM trading.user_trading_sessions
UNION ALL
SELECT user_id, gen_random_uuid(), 3, start_time, 'SESSION_STOPPED', 'TRADING', 'it ended', session_id
FROM trading.user_trading_sessions WHERE status = 'STOPPED';
