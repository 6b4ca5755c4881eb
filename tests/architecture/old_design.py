"""The tables and columns of the design that preceded this product, each with its current place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Now:
    """The current place of an old table. `columns` have kept their names, `elsewhere` have another name; `waiting`
    are added or filled by later features."""

    table: str
    columns: Sequence[str]
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    waiting: Mapping[str, str] = field(default_factory=dict)

    @property
    def places(self) -> list[str]:
        return [*(f"{self.table}.{column}" for column in self.columns), *self.elsewhere.values()]


EXCHANGE = "comes with orders on the exchange"
STRIPE = "comes with payments"
CHANNELS = "comes with the outer channels"
OLD: Mapping[str, Now] = {
    "users": Now(
        "auth.users",
        [
            "email",
            "password_hash",
            "username",
            "first_name",
            "last_name",
            "timezone",
            "language",
            "is_active",
            "email_verified",
            "created_at",
            "updated_at",
            "trial_end_date",
            "subscription_tier",
            "subscription_start_date",
            "subscription_end_date",
            "last_login",
            "login_count",
        ],
        elsewhere={
            "bybit_api_key_hash": "trading.exchange_accounts.key_hash",
            "bybit_api_secret_hash": "trading.exchange_secrets.ciphertext",
        },
        waiting={
            "telegram_chat_id": CHANNELS,
            "api_key": "comes with API keys, in auth.api_keys",
            "api_secret_hash": "comes with API keys, in auth.api_keys",
        },
    ),
    "user_sessions": Now(
        "auth.user_sessions",
        ["user_id", "expires_at", "ip_address", "user_agent", "is_active", "created_at"],
        elsewhere={
            "session_token": "auth.user_sessions.session_id",
            "refresh_token": "auth.refresh_tokens.token_sha256",
        },
    ),
    "user_activity_log": Now(
        "auth.user_activity_log",
        ["user_id", "timestamp", "activity_type", "ip_address", "user_agent", "endpoint", "data", "created_at"],
    ),
    "subscription_plans": Now(
        "billing.subscription_plans",
        [
            "name",
            "display_name",
            "description",
            "price_monthly",
            "price_yearly",
            "max_trades_per_month",
            "max_active_strategies",
            "max_symbols",
            "has_advanced_ai",
            "has_api_access",
            "has_backtesting",
            "has_telegram_alerts",
            "has_priority_support",
            "is_active",
            "created_at",
        ],
    ),
    "user_subscriptions": Now(
        "billing.user_subscriptions",
        [
            "user_id",
            "plan_id",
            "status",
            "start_date",
            "end_date",
            "trial_end_date",
            "current_period_start",
            "created_at",
            "updated_at",
        ],
        elsewhere={"current_period_trades": "billing.usage_ledger.trade_id"},  # counted, never incremented
        waiting={"stripe_subscription_id": STRIPE, "stripe_customer_id": STRIPE, "next_billing_date": STRIPE},
    ),
    "user_trading_sessions": Now(
        "trading.user_trading_sessions",
        [
            "user_id",
            "session_id",
            "start_time",
            "end_time",
            "symbol",
            "strategy_config",
            "initial_balance",
            "final_balance",
            "total_trades",
            "winning_trades",
            "losing_trades",
            "total_pnl",
            "max_drawdown",
            "status",
            "notes",
            "is_paper_trading",
            "created_at",
            "updated_at",
        ],
    ),
    "user_trades": Now(
        "trading.user_trades",
        [
            "user_id",
            "session_id",
            "trade_id",
            "symbol",
            "side",
            "entry_time",
            "exit_time",
            "entry_price",
            "exit_price",
            "quantity",
            "pnl",
            "fee",
            "pnl_percentage",
            "status",
            "strategy_signal",
            "notes",
            "is_paper_trade",
            "created_at",
            "updated_at",
        ],
        waiting={"bybit_order_id": EXCHANGE, "external_trade_id": EXCHANGE},
    ),
    "user_bot_configurations": Now(
        "trading.user_bot_configurations",
        [
            "user_id",
            "config_name",
            "config_data",
            "is_active",
            "is_default",
            "strategy_type",
            "risk_level",
            "max_position_size",
            "stop_loss_percentage",
            "take_profit_percentage",
            "times_used",
            "last_used",
            "created_at",
            "updated_at",
        ],
    ),
    "user_strategies": Now(
        "trading.user_strategies",
        [
            "user_id",
            "strategy_name",
            "strategy_description",
            "strategy_config",
            "entry_conditions",
            "exit_conditions",
            "risk_management",
            "total_uses",
            "is_public",
            "is_active",
            "version",
            "created_at",
            "updated_at",
        ],
        elsewhere={
            "win_rate": "trading.user_strategies.winning_trades",
            "avg_pnl": "trading.user_strategies.total_pnl",
        },
    ),
    "user_daily_performance": Now(
        "analytics.user_daily_performance",
        [
            "user_id",
            "date",
            "starting_balance",
            "ending_balance",
            "daily_pnl",
            "daily_pnl_percentage",
            "total_trades",
            "winning_trades",
            "losing_trades",
            "win_rate",
            "max_drawdown",
            "sharpe_ratio",
            "volatility",
            "data",
            "created_at",
        ],
    ),
    "user_market_analysis": Now(
        "analytics.user_market_analysis",
        [
            "user_id",
            "timestamp",
            "symbol",
            "price",
            "ema_value",
            "ema_period",
            "candles_above_ema",
            "distance_from_ema",
            "trend_direction",
            "volume",
            "analysis_data",
            "user_notes",
            "is_watchlist",
            "created_at",
        ],
    ),
    "user_alerts": Now(
        "notifications.user_alerts",
        [
            "user_id",
            "alert_name",
            "symbol",
            "alert_type",
            "condition_data",
            "notify_telegram",
            "notify_email",
            "notify_dashboard",
            "is_active",
            "triggered_count",
            "last_triggered",
            "created_at",
            "updated_at",
        ],
    ),
    "user_system_events": Now(
        "notifications.user_system_events",
        [
            "user_id",
            "timestamp",
            "event_type",
            "event_category",
            "message",
            "data",
            "severity",
            "is_read",
            "session_id",
            "trade_id",
            "created_at",
        ],
    ),
    "user_api_usage": Now(
        "billing.user_api_usage",
        [
            "user_id",
            "date",
            "total_requests",
            "trading_requests",
            "analysis_requests",
            "backtest_requests",
            "daily_limit",
            "requests_remaining",
            "created_at",
        ],
    ),
}
WAITING_TABLES = {"trade_id_mapping": EXCHANGE}
