-- migrate:up
-- Orders of live sessions: what a session means to have on the exchange, and what the exchange has booked of it.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

-- `reason` is that of its fills. `filled`, `notional` and `fee` are sums over the executions booked. `created_at` and
-- `sent_at` are exchange time. `expected_price` is the close of `bar`, which sized an entry. `counted_in` is the period of the plan in which an entry counts, as long as it may fill.
CREATE TABLE order_intents (
    user_id bigint NOT NULL,
    intent_id uuid NOT NULL,
    session_id uuid NOT NULL,
    exchange_account_id uuid NOT NULL,
    symbol text NOT NULL,
    link_id text NOT NULL,
    bar timestamptz NOT NULL,
    leg text NOT NULL CHECK (leg IN ('entry', 'exit', 'target-1', 'target-2', 'target-3', 'target-4', 'target-5',
                                     'stop', 'flatten')),
    attempt integer NOT NULL CHECK (attempt >= 1),
    side text NOT NULL CHECK (side IN ('BUY', 'SELL')),
    quantity numeric NOT NULL CHECK (quantity <> 'NaN' AND quantity > 0),
    price numeric CHECK (price <> 'NaN'),
    stop_loss numeric CHECK (stop_loss <> 'NaN'),
    reduce_only boolean NOT NULL,
    reason text NOT NULL,
    strategy_hash text NOT NULL,
    epoch bigint NOT NULL,
    created_at timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('INTENT', 'SENDING', 'UNKNOWN', 'ACKED', 'PARTIALLY_FILLED', 'FILLED',
                                         'CANCELLED', 'REJECTED', 'STALE', 'DROPPED')),
    send_before timestamptz,
    sent_at timestamptz,
    order_id text,
    filled numeric NOT NULL CHECK (filled <> 'NaN' AND filled >= 0),
    notional numeric NOT NULL CHECK (notional <> 'NaN'),
    fee numeric NOT NULL CHECK (fee <> 'NaN'),
    venue_code integer,
    venue_message text,
    decision_id uuid,
    refusal text,
    expected_price numeric CHECK (expected_price <> 'NaN'),
    counted_in timestamptz,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, intent_id),
    UNIQUE (user_id, link_id),
    FOREIGN KEY (user_id, session_id) REFERENCES user_trading_sessions (user_id, session_id)
) WITH (fillfactor = 70);
CREATE INDEX order_intents_of_session ON order_intents (user_id, session_id, recorded_at, intent_id);
CREATE INDEX order_intents_open ON order_intents (user_id, session_id)
    WHERE state IN ('INTENT', 'SENDING', 'UNKNOWN', 'ACKED', 'PARTIALLY_FILLED');
CREATE INDEX order_intents_of_account ON order_intents (user_id, exchange_account_id, recorded_at);
CALL tenant_table('order_intents', app => 'SELECT, INSERT, UPDATE', worker => 'SELECT, INSERT, UPDATE');

-- Executions on a session's symbol, each booked once. `part` is the quantity that had this effect: an execution that
-- closes the session's position and opens another has two rows. The part of a foreign one awaits the tenant's answer.
CREATE TABLE executions (
    user_id bigint NOT NULL,
    execution_id text NOT NULL,
    effect text NOT NULL CHECK (effect IN ('entry', 'close', 'foreign', 'ignored')),
    session_id uuid NOT NULL,
    intent_id uuid,
    part numeric NOT NULL CHECK (part <> 'NaN'),
    reason text,
    order_id text NOT NULL,
    link_id text,
    parent_link_id text,
    symbol text NOT NULL,
    side text NOT NULL CHECK (side IN ('BUY', 'SELL')),
    kind text NOT NULL CHECK (kind IN ('TRADE', 'LIQUIDATION', 'ADL', 'OTHER')),
    origin text NOT NULL CHECK (origin IN ('REQUEST', 'STOP_LOSS', 'TAKE_PROFIT', 'TRAILING_STOP', 'OTHER')),
    quantity numeric NOT NULL CHECK (quantity <> 'NaN'),
    price numeric NOT NULL CHECK (price <> 'NaN'),
    fee numeric NOT NULL CHECK (fee <> 'NaN'),
    fee_coin text NOT NULL,
    closed_quantity numeric NOT NULL CHECK (closed_quantity <> 'NaN'),
    time timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, execution_id, effect),
    FOREIGN KEY (user_id, session_id) REFERENCES user_trading_sessions (user_id, session_id),
    FOREIGN KEY (user_id, intent_id) REFERENCES order_intents (user_id, intent_id)
);
CREATE INDEX executions_of_session ON executions (user_id, session_id, time);
CREATE INDEX executions_foreign ON executions (user_id, session_id) WHERE effect = 'foreign' AND part > 0;
CALL tenant_table('executions', app => 'SELECT, INSERT, UPDATE', worker => 'SELECT, INSERT, UPDATE');

-- `amount` is positive when paid, `quantity` the position's. Funding is not part of a trade's pnl.
CREATE TABLE funding_payments (
    user_id bigint NOT NULL,
    execution_id text NOT NULL,
    session_id uuid NOT NULL,
    exchange_account_id uuid NOT NULL,
    trade_id uuid,
    symbol text NOT NULL,
    quantity numeric NOT NULL CHECK (quantity <> 'NaN'),
    price numeric NOT NULL CHECK (price <> 'NaN'),
    amount numeric NOT NULL CHECK (amount <> 'NaN'),
    coin text NOT NULL,
    time timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, execution_id),
    FOREIGN KEY (user_id, session_id) REFERENCES user_trading_sessions (user_id, session_id),
    FOREIGN KEY (user_id, trade_id) REFERENCES user_trades (user_id, trade_id)
);
CREATE INDEX funding_of_session ON funding_payments (user_id, session_id, time);
CREATE INDEX funding_of_trade ON funding_payments (user_id, trade_id);
CREATE INDEX funding_of_account ON funding_payments (user_id, exchange_account_id, time);
CALL tenant_table('funding_payments', app => 'SELECT, INSERT', worker => 'SELECT, INSERT');

ALTER TABLE fills
    ADD COLUMN execution_id text,
    ADD COLUMN intent_id uuid;

-- What the tenant was notified of, once per key.
CREATE TABLE session_incidents (
    user_id bigint NOT NULL,
    session_id uuid NOT NULL,
    key text NOT NULL,
    kind text NOT NULL,
    detail jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, session_id, key),
    FOREIGN KEY (user_id, session_id) REFERENCES user_trading_sessions (user_id, session_id)
);
CALL tenant_table('session_incidents', app => 'SELECT, INSERT', worker => 'SELECT, INSERT');

DO $$
BEGIN
    GRANT UPDATE (refusal) ON decisions TO trading_app, trading_worker;
END
$$;

-- migrate:down
