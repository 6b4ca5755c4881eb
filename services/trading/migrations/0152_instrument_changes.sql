-- migrate:up
-- A session goes on with a contract's new steps from its next entry: recorded like what holds it back, with the bar.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

ALTER TABLE session_restrictions
    ADD COLUMN tick_size numeric CHECK (tick_size <> 'NaN' AND tick_size > 0),
    ADD COLUMN qty_step numeric CHECK (qty_step <> 'NaN' AND qty_step > 0),
    ADD COLUMN min_order_qty numeric CHECK (min_order_qty <> 'NaN' AND min_order_qty >= 0),
    ADD COLUMN min_notional numeric CHECK (min_notional <> 'NaN' AND min_notional >= 0);

ALTER TABLE session_restrictions DROP CONSTRAINT session_restrictions_kind_check;
ALTER TABLE session_restrictions ADD CONSTRAINT session_restrictions_kind_check CHECK (
    kind IN ('PAUSED', 'RESUMED', 'PLAN_LIMIT', 'PLAN_LIMIT_LIFTED', 'FEED_SILENT', 'FEED_SILENT_LIFTED',
             'INSTRUMENT_CHANGED', 'STOPPED')
);

-- migrate:down
