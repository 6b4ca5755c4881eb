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
