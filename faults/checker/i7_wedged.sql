-- I7: nothing is stuck. Each row of a statement is a violation.

SELECT format('the bar of %s of %s %s is confirmed and was never published', open_time, symbol, interval)
FROM trading.candles JOIN trading.series USING (series_id) WHERE origin = 'STREAM' AND announced_at IS NULL;

SELECT format('session %s of user %s is running and has no lease', session_id, user_id)
FROM trading.user_trading_sessions AS session
WHERE status <> 'STOPPED'
      AND NOT EXISTS (SELECT FROM trading.session_leases AS lease WHERE lease.user_id = session.user_id
                      AND lease.session_id = session.session_id);

SELECT format('the days of user %s (%s) are not computed: marked since %s', user_id, mode, since)
FROM analytics.stale_days;

SELECT format('order %s (%s) of session %s of user %s is still %s', link_id, leg, session_id, user_id, state)
FROM trading.order_intents WHERE state IN ('INTENT', 'SENDING', 'UNKNOWN');

SELECT format('the position of %s on account %s of user %s has no stop', symbol, uid, user_id)
FROM on_exchange WHERE kind = 'positions' AND size > 0 AND coalesce(stop_loss, 0) = 0;

SELECT format('order %s (link %s) on account %s of user %s is open, and its session is stopped', opened.order_id,
              link_id, uid, user_id)
FROM on_exchange AS opened JOIN trading.order_intents AS intent USING (user_id, link_id)
     JOIN trading.user_trading_sessions AS session USING (user_id, session_id)
WHERE opened.kind = 'open_orders' AND session.status = 'STOPPED';
