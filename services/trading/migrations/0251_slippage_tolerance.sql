-- migrate:up
-- How far from the price at arrival the entries of a live session may fill, and the largest of them that the exchange
-- takes; NULL: no limit.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

ALTER TABLE user_trading_sessions
    ADD COLUMN slippage_tolerance_ticks integer CHECK (slippage_tolerance_ticks BETWEEN 1 AND 10000),
    ADD COLUMN slippage_tolerance_percentage numeric
        CHECK (slippage_tolerance_percentage <> 'NaN' AND slippage_tolerance_percentage BETWEEN 0.01 AND 10),
    ADD COLUMN max_order_quantity numeric CHECK (max_order_quantity <> 'NaN' AND max_order_quantity > 0),
    ADD CHECK (slippage_tolerance_ticks IS NULL OR slippage_tolerance_percentage IS NULL);

-- migrate:down
