-- I3: every computed figure equals the ledger to the last decimal. Each row of a statement is a violation. Quotients
-- are not recomputed: each was rounded once, to 8 places, so times its divisor it is off by half a unit at most.

-- A trade follows from its fills.
SELECT format('trade %s of user %s: its %s is %s, by its fills %s', trade_id, user_id, name, has, wanted)
FROM trading.user_trades AS trade
     LEFT JOIN (
         SELECT user_id, trade_id, sum(fee) AS fee,
                coalesce(sum(qty) FILTER (WHERE action = 'open'), 0) AS opened,
                coalesce(sum(qty) FILTER (WHERE action = 'close'), 0) AS closed,
                sum(CASE WHEN (action = 'close') = (side = 'LONG') THEN qty * price ELSE -qty * price END) AS gross,
                sum(qty * price) FILTER (WHERE action = 'close') AS proceeds
         FROM trading.fills GROUP BY user_id, trade_id
     ) AS fill USING (user_id, trade_id)
     CROSS JOIN LATERAL (VALUES
         ('quantity', quantity, opened, true),
         ('closed quantity', quantity, closed, status = 'CLOSED'),
         ('gross_pnl', gross_pnl, gross, status = 'CLOSED'),
         ('fee', trade.fee, fill.fee, status = 'CLOSED'),
         ('pnl', pnl, CASE WHEN abs(pnl - (gross - fill.fee)) <= 0.000000005 THEN pnl ELSE gross - fill.fee END,
          status = 'CLOSED'),
         ('exit_price', exit_price,
          CASE WHEN abs(exit_price * quantity - proceeds) <= 0.000000005 * quantity THEN exit_price
               ELSE proceeds / nullif(quantity, 0) END, status = 'CLOSED'),
         ('pnl_percentage', pnl_percentage,
          CASE WHEN abs(pnl_percentage * entry_price * quantity - pnl * 100)
                    <= 0.000000005 * entry_price * quantity THEN pnl_percentage
               ELSE pnl * 100 / nullif(entry_price * quantity, 0) END, status = 'CLOSED')
     ) AS compared (name, has, wanted, applies)
WHERE status <> 'CANCELLED' AND applies AND has IS DISTINCT FROM wanted;

-- A session's figures follow from its trades.
SELECT format('session %s of user %s: its %s is %s, by its trades and fills %s', session_id, user_id, name, has, wanted)
FROM trading.user_trading_sessions AS session
     CROSS JOIN LATERAL (
         SELECT count(*) AS trades, count(*) FILTER (WHERE pnl > 0) AS winning,
                count(*) FILTER (WHERE pnl < 0) AS losing, coalesce(sum(pnl), 0) AS pnl,
                initial_balance + greatest(0, max(so_far)) AS highest,
                coalesce(max((top - initial_balance - so_far) * 100 / top), 0) AS deepest
         FROM (SELECT pnl, so_far, initial_balance + greatest(0, max(so_far) OVER (ORDER BY entry_time)) AS top
               FROM (SELECT pnl, entry_time, sum(pnl) OVER (ORDER BY entry_time) AS so_far
                     FROM trading.user_trades AS trade
                     WHERE trade.user_id = session.user_id AND trade.session_id = session.session_id
                           AND trade.status = 'CLOSED') AS closed) AS curve
     ) AS sums
     CROSS JOIN LATERAL (VALUES
         ('total_trades', total_trades::numeric, trades::numeric),
         ('winning_trades', winning_trades, winning),
         ('losing_trades', losing_trades, losing),
         ('total_pnl', total_pnl, sums.pnl),
         ('highest_equity', highest_equity, highest),
         ('max_drawdown', max_drawdown,
          CASE WHEN abs(max_drawdown - deepest) <= 0.00000000501 THEN max_drawdown ELSE deepest END),
         ('final_balance', final_balance, CASE WHEN session.status = 'STOPPED' THEN initial_balance + sums.pnl END),
         ('fill_count', fill_count, (SELECT count(*) FROM trading.fills AS fill
                                     WHERE fill.user_id = session.user_id AND fill.session_id = session.session_id)),
         ('open trades', 0, (SELECT count(*) FROM trading.user_trades AS trade
                             WHERE trade.user_id = session.user_id AND trade.session_id = session.session_id
                                   AND trade.status = 'OPEN' AND session.status = 'STOPPED'))
     ) AS compared (name, has, wanted)
WHERE has IS DISTINCT FROM wanted;

-- A strategy's statistics follow from its trades.
SELECT format('strategy %s of user %s: uses, win rate, mean pnl are %s, by its trades %s', strategy_id, user_id,
              (total_uses, win_rate, avg_pnl), (uses, rate, mean))
FROM trading.user_strategies
     JOIN (SELECT user_id, strategy_id, count(*) AS uses, round(avg(pnl), 8) AS mean,
                  round(100.0 * count(*) FILTER (WHERE pnl > 0) / count(*), 6) AS rate
           FROM trading.user_trades WHERE status = 'CLOSED' GROUP BY user_id, strategy_id) AS sums
     USING (user_id, strategy_id)
WHERE (total_uses, win_rate, avg_pnl) IS DISTINCT FROM (uses, rate, mean);

-- The events of a trade carry its stored values.
SELECT format('%s (event %s): the %s of trade %s is published as %s and stored as %s', topic, event_id, name, trade_id,
              said, has)
FROM events JOIN trading.user_trades AS trade ON trade_id::text = thing AND user_id::text = key
     CROSS JOIN LATERAL (VALUES
         ('quantity', quantity, true), ('entry_price', entry_price, true),
         ('exit_price', exit_price, topic = 'trade.closed'), ('pnl', pnl, topic = 'trade.closed'),
         ('pnl_percentage', pnl_percentage, topic = 'trade.closed'), ('fee', fee, topic = 'trade.closed')
     ) AS compared (name, has, applies)
     CROSS JOIN LATERAL (SELECT pg_temp.as_number(body ->> name) AS said) AS of_event
WHERE topic IN ('trade.opened', 'trade.closed') AND applies AND said IS DISTINCT FROM has;

-- Analytics' facts equal trading's trades and sessions.
SELECT format('analytics has a fact of trade %s of user %s, which trading has not closed', trade_id, user_id)
FROM analytics.trade_facts
WHERE NOT EXISTS (SELECT FROM trading.user_trades AS trade WHERE trade.trade_id = trade_facts.trade_id
                  AND (trade.user_id <> trade_facts.user_id OR status = 'CLOSED'));

SELECT format('trade %s of user %s: its %s is %s in analytics, %s in trading', trade_id, user_id, name, has, wanted)
FROM analytics.trade_facts AS fact JOIN trading.user_trades AS trade USING (user_id, trade_id)
     CROSS JOIN LATERAL (VALUES
         ('pnl', fact.pnl::text, trade.pnl::text, fact.pnl = trade.pnl),
         ('fee', fact.fee::text, trade.fee::text, fact.fee = trade.fee),
         ('entry_time', fact.entry_time::text, trade.entry_time::text, fact.entry_time = trade.entry_time),
         ('exit_time', fact.exit_time::text, trade.exit_time::text, fact.exit_time = trade.exit_time),
         ('session_id', fact.session_id::text, trade.session_id::text, fact.session_id = trade.session_id),
         ('strategy_id', fact.strategy_id::text, trade.strategy_id::text, fact.strategy_id = trade.strategy_id),
         ('symbol', fact.symbol, trade.symbol, fact.symbol = trade.symbol),
         ('side', fact.side, trade.side, fact.side = trade.side),
         ('mode', fact.mode, trade.is_paper_trade::text, (fact.mode = 'PAPER') = trade.is_paper_trade)
     ) AS compared (name, has, wanted, agree)
WHERE trade.status = 'CLOSED' AND agree IS NOT TRUE;

SELECT format('session %s of user %s: its %s is %s in analytics, %s in trading', session_id, user_id, name, has, wanted)
FROM analytics.session_facts AS fact JOIN trading.user_trading_sessions AS session USING (user_id, session_id)
     CROSS JOIN LATERAL (VALUES
         ('initial_balance', fact.initial_balance, session.initial_balance),
         ('final_balance', fact.final_balance,
          CASE WHEN fact.stopped_at IS NOT NULL THEN session.final_balance END)
     ) AS compared (name, has, wanted)
WHERE has IS DISTINCT FROM wanted;

-- Days follow from the trades, in the user's time zone. Capital at work is NULL in days of an earlier version.
SELECT format('day %s of user %s (%s) is %s, by trading''s trades it is %s', date, user_id, mode,
              CASE WHEN day.user_id IS NULL THEN 'missing' ELSE 'there' END,
              CASE WHEN traded.user_id IS NULL THEN 'none' ELSE 'one' END)
FROM analytics.user_daily_performance AS day
     FULL JOIN (SELECT DISTINCT user_id, mode, date FROM ledger) AS traded USING (user_id, mode, date)
WHERE day.user_id IS NULL OR traded.user_id IS NULL;

WITH traded AS (
    SELECT user_id, mode, date, sum(pnl) AS pnl, count(*) AS trades, count(*) FILTER (WHERE pnl > 0) AS winning,
           count(*) FILTER (WHERE pnl < 0) AS losing
    FROM ledger GROUP BY user_id, mode, date
), rises AS (
    SELECT user_id, mode, date, max(balance) AS most
    FROM (SELECT user_id, mode, date, sum(amount) OVER (PARTITION BY user_id, mode, date ORDER BY moment) AS balance
          FROM flows) AS balances
    GROUP BY user_id, mode, date
), begun AS (
    SELECT traded.*, won_before + coalesce(
               (SELECT sum(initial_balance) FROM capital WHERE capital.user_id = traded.user_id
                AND capital.mode = traded.mode AND capital.date <= traded.date), 0) AS starting,
           won_before + greatest(0, most) + coalesce(
               (SELECT sum(amount) FROM flows WHERE flows.user_id = traded.user_id
                AND flows.mode = traded.mode AND flows.date < traded.date), 0) AS at_work
    FROM (SELECT traded.*, sum(pnl) OVER (PARTITION BY user_id, mode ORDER BY date) - pnl AS won_before
          FROM traded) AS traded
         LEFT JOIN rises USING (user_id, mode, date)
), fallen AS (
    SELECT user_id, mode, date, max((highest - equity) * 100 / highest) AS deepest
    FROM (
        SELECT user_id, mode, date, equity,
               greatest(at_work, max(equity) OVER (PARTITION BY user_id, mode, date ORDER BY exit_time, trade_id))
                   AS highest
        FROM (SELECT ledger.*, at_work + sum(ledger.pnl) OVER (PARTITION BY user_id, mode, date
                                                               ORDER BY exit_time, trade_id) AS equity, at_work
              FROM ledger JOIN begun USING (user_id, mode, date) WHERE at_work > 0) AS curve
    ) AS heights GROUP BY user_id, mode, date
)
SELECT format('day %s of user %s (%s): its %s is %s, by trading''s trades %s', date, user_id, mode, name, has, wanted)
FROM begun JOIN analytics.user_daily_performance AS day USING (user_id, mode, date)
     LEFT JOIN fallen USING (user_id, mode, date)
     CROSS JOIN LATERAL (VALUES
         ('total_trades', total_trades::numeric, trades::numeric),
         ('winning_trades', winning_trades, winning),
         ('losing_trades', losing_trades, losing),
         ('daily_pnl', daily_pnl, pnl),
         ('starting_balance', starting_balance, starting),
         ('ending_balance', ending_balance, starting + pnl),
         ('capital_at_work', capital_at_work, CASE WHEN capital_at_work IS NOT NULL THEN at_work END),
         ('win_rate', win_rate, CASE WHEN abs(win_rate * trades - winning * 100) <= 0.000000005 * trades THEN win_rate
                                     ELSE winning * 100.0 / trades END),
         ('daily_pnl_percentage', daily_pnl_percentage,
          CASE WHEN at_work <= 0 THEN NULL
               WHEN abs(daily_pnl_percentage * at_work - pnl * 100) <= 0.000000005 * at_work
                   THEN daily_pnl_percentage
               ELSE pnl * 100 / at_work END),
         ('max_drawdown', max_drawdown,
          CASE WHEN abs(max_drawdown - deepest) <= 0.00000000501 THEN max_drawdown ELSE deepest END)
     ) AS compared (name, has, wanted)
WHERE has IS DISTINCT FROM wanted;

-- Billing's usage equals trading's closed trades, and its counter equals the ledger's count.
SELECT format('billing has usage of trade %s of user %s, which trading has not closed', trade_id, user_id)
FROM billing.usage_ledger
WHERE NOT EXISTS (SELECT FROM trading.user_trades AS trade WHERE trade.trade_id = usage_ledger.trade_id
                  AND (trade.user_id <> usage_ledger.user_id OR status = 'CLOSED'));

SELECT format('trade %s of user %s: session and mode are %s in billing, %s in trading', trade_id, user_id,
              (usage.session_id, mode), (trade.session_id, is_paper_trade))
FROM billing.usage_ledger AS usage JOIN trading.user_trades AS trade USING (user_id, trade_id)
WHERE usage.session_id <> trade.session_id OR (mode = 'PAPER') <> is_paper_trade;

SELECT format('billing: subscription %s of user %s counts %s trades, the ledger of its period has %s',
              subscription_id, user_id, current_period_trades, count(trade_id))
FROM billing.user_subscriptions
     LEFT JOIN billing.usage_ledger USING (user_id)
WHERE status IN ('ACTIVE', 'TRIAL', 'PAST_DUE')
      AND (trade_id IS NULL OR occurred_at >= current_period_start AND occurred_at < current_period_end)
GROUP BY user_id, subscription_id HAVING current_period_trades <> count(trade_id);

-- Billing's requests of a day equal the reports of that day. Reports are deleted after a month.
SELECT format('billing: user %s has %s requests on %s, and its reports have %s', user_id, coalesce(total_requests, 0),
              date, coalesce(reported, 0))
FROM billing.user_api_usage
     FULL JOIN (SELECT user_id, date, sum(requests) AS reported FROM billing.api_usage_reports GROUP BY user_id, date)
         AS reports USING (user_id, date)
WHERE date > current_date - 30 AND coalesce(total_requests, 0) <> coalesce(reported, 0);

-- Candle events carry the stored values.
SELECT format('candle.closed (event %s, %s/%s): the %s of %s %s at %s is published as %s and stored as %s', event_id,
              kafka_partition, kafka_offset, name, symbol, interval, open_time, said, has)
FROM trading.candles JOIN trading.series USING (series_id)
     JOIN events ON topic = 'candle.closed'
                    AND thing = concat_ws(' ', symbol, interval, generation, pg_temp.as_ms(open_time))
     CROSS JOIN LATERAL (VALUES ('open', open), ('high', high), ('low', low), ('close', close), ('volume', volume))
         AS compared (name, has)
     CROSS JOIN LATERAL (SELECT pg_temp.as_number(body ->> name) AS said) AS of_event
WHERE said IS DISTINCT FROM has;

-- The position on the exchange equals that of the fills.
SELECT format('the position of %s on account %s of user %s is %s on the exchange, %s by the fills', symbol,
              exchange_account_id, user_id, coalesce(has, 0), coalesce(wanted, 0))
FROM (SELECT user_id, exchange_account_id, symbol, CASE side WHEN 'Buy' THEN size ELSE -size END AS has
      FROM on_exchange WHERE kind = 'positions') AS held
     FULL JOIN (SELECT user_id, exchange_account_id, symbol,
                       sum(CASE WHEN (action = 'open') = (side = 'LONG') THEN qty ELSE -qty END) AS wanted
                FROM trading.user_trading_sessions JOIN trading.fills USING (user_id, session_id)
                WHERE NOT is_paper_trading
                GROUP BY user_id, exchange_account_id, symbol) AS filled
     USING (user_id, exchange_account_id, symbol)
WHERE coalesce(has, 0) <> coalesce(wanted, 0);

-- Executions are booked as the exchange executed them, and their fills have what was booked.
SELECT format('execution %s of user %s: its %s is %s on the exchange, booked as %s', execution_id, user_id, name, has,
              booked)
FROM on_exchange JOIN (SELECT DISTINCT user_id, execution_id, side, price, fee FROM trading.executions) AS execution
     USING (user_id, execution_id)
     CROSS JOIN LATERAL (VALUES
         ('side', upper(on_exchange.side), execution.side, upper(on_exchange.side) = execution.side),
         ('price', on_exchange.price::text, execution.price::text, on_exchange.price = execution.price),
         ('fee', on_exchange.fee::text, execution.fee::text, on_exchange.fee = execution.fee)
     ) AS compared (name, has, booked, agree)
WHERE kind = 'execution' AND agree IS NOT TRUE;

SELECT format('execution %s of user %s: its %s is booked as %s, by its fill %s', execution_id, user_id, name, booked, has)
FROM (SELECT *, CASE effect WHEN 'entry' THEN 'open' ELSE effect END AS action FROM trading.executions) AS execution
     JOIN trading.fills AS fill USING (user_id, execution_id, action)
     CROSS JOIN LATERAL (VALUES
         ('quantity', part, qty), ('price', execution.price, fill.price),
         ('fee', execution.fee, CASE WHEN part = quantity THEN fill.fee ELSE execution.fee END)
     ) AS compared (name, booked, has)
WHERE booked <> has;

-- An intent ends as its order on the exchange did.
SELECT format('the order of link %s of user %s is %s with %s filled; its intent is %s with %s filled', link_id, user_id,
              status, ended.filled, state, intent.filled)
FROM (SELECT DISTINCT ON (uid, order_id) * FROM on_exchange WHERE kind = 'order' ORDER BY uid, order_id, seq DESC)
         AS ended
     JOIN trading.order_intents AS intent USING (user_id, link_id)
WHERE state NOT IN ('INTENT', 'SENDING', 'UNKNOWN')
      AND (ended.filled <> intent.filled
           OR (status IN ('New', 'PartiallyFilled')) <> (state IN ('ACKED', 'PARTIALLY_FILLED')));

-- A session's fingerprint follows from its fills.
SELECT format('session %s of user %s: its fingerprint is %s, by its fills %s', session_id, user_id, fingerprint, wanted)
FROM trading.user_trading_sessions AS session
     CROSS JOIN LATERAL (
         SELECT encode(sha256(convert_to(coalesce(string_agg(line, '' ORDER BY fill_number), ''), 'UTF8')), 'hex')
                    AS wanted
         FROM (SELECT fill_number, format(E'%s,%s,%s,%s,%s,%s\n', pg_temp.as_ms(time), action, side, trim_scale(qty),
                                          trim_scale(price), reason) AS line
               FROM trading.fills AS fill
               WHERE fill.user_id = session.user_id AND fill.session_id = session.session_id) AS lines
     ) AS hashed
WHERE fingerprint <> wanted;
