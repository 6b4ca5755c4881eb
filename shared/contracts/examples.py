"""The values in the examples of the API documents: they all describe one user, one strategy and one trade."""

from collections.abc import Mapping
from uuid import UUID, uuid5

from pydantic import ConfigDict
from pydantic.config import JsonDict, JsonValue

STRATEGY: Mapping[str, JsonValue] = {
    "strategy_name": "ema-cross",
    "strategy_description": "Long while the 5-bar EMA is above the 13-bar EMA",
    "strategy_config": {
        "interval": "15",
        "side": "LONG",
        "indicators": {"fast": {"type": "EMA", "period": 5}, "slow": {"type": "EMA", "period": 13}},
    },
    "entry_conditions": {"left": "fast", "op": "crosses_above", "right": "slow"},
    "exit_conditions": {"left": "fast", "op": "crosses_below", "right": "slow"},
    "risk_management": {
        "position_size": {"type": "percent_of_equity", "value": "50"},
        "stop_loss": {"type": "percent", "value": "2"},
        "take_profits": [{"type": "percent", "value": "4", "close_percent": "100"}],
    },
}
HASH = "9f2b6c1d4e8a70355cf1e2d9b8a7463210fedcba98765432100123456789abcd"
PASSWORD = "no two tides alike"
REFRESH_TOKEN = "TmV2ZXIgZ2l2ZSB0aGlzIHRvIGFueWJvZHk"
ASKED, BAR, ENTRY, EXIT, NOW = (
    f"2026-01-31T{time}Z"
    for time in ("09:02:11.480", "09:15:00.000", "09:30:00.000", "11:45:00.000", "12:00:00.273")
)

# The example of a field by its name, unless its model gives another one.
BY_NAME: Mapping[str, JsonValue] = {
    **STRATEGY,
    "document": dict(STRATEGY),
    "content_hash": HASH,
    "strategy_hash": HASH,
    "fingerprint": "41d5a0c3e97b2f6688b4d1f05a9c7e3266e0f8b1c4d7a92350617283940a5b6c",
    "strategy_version": 1,
    "version": 1,
    "display_name": "Ada",
    "symbol": "BTCUSDT",
    "interval": "15",
    "generation": 1,
    "mode": "PAPER",
    "side": "LONG",
    "timezone": "Europe/Rome",
    "language": "en",
    "service": "trading",
    "next_cursor": None,
    # times
    "created_at": ASKED,
    "updated_at": NOW,
    "occurred_at": EXIT,
    "start_time": ASKED,
    "end_time": None,
    "ended_at": None,
    "started_at": "2026-01-31T12:00:01.004Z",
    "calculated_at": "2026-01-31T12:00:01.731Z",
    "expires_at": "2026-03-02T12:00:00.273Z",
    "last_used_at": NOW,
    "last_login_at": NOW,
    "first_bar_time": BAR,
    "last_bar_time": EXIT,
    "bar_time": BAR,
    "fill_time": ENTRY,
    "filled_at": "2026-01-31T09:30:00.655Z",
    "after_bar_time": BAR,
    "since_time": ASKED,
    "expected_time": ENTRY,
    "open_time": EXIT,
    "close_time": NOW,
    "entry_time": ENTRY,
    "exit_time": EXIT,
    "date": "2026-01-31",
    "from": "2026-01-01T00:00:00.000Z",
    "to": "2026-02-01T00:00:00.000Z",
    "starts_at": "2026-01-17T00:00:00.000Z",
    "ends_at": "2026-01-31T00:00:00.000Z",
    # prices, amounts and results
    "open": "91180.5",
    "high": "91422",
    "low": "91106.5",
    "close": "91350",
    "volume": "182.417",
    "price": "91350",
    "entry_price": "90012.5",
    "exit_price": "91350",
    "quantity": "0.055",
    "fee": "5.486215625",
    "gross_pnl": "73.5625",
    "pnl": "68.076284375",
    "pnl_percentage": 1.375082,
    "total_pnl": "68.076284375",
    "best_trade": "68.076284375",
    "worst_trade": "68.076284375",
    "gains": "68.076284375",
    "losses": "0",
    "initial_balance": "10000",
    "final_balance": None,
    "starting_balance": "10000",
    "ending_balance": "10068.076284375",
    "equity": "10068.076284375",
    "in_sessions": "10068.076284375",
    "capital_at_work": "10000",
    "final_equity": "10068.076284375",
    "capital_added": "0",
    "capital_taken": "0",
    "fee_rate": "0.00055",
    "slippage": "0.0001",
    "total_trades": 1,
    "winning_trades": 1,
    "losing_trades": 0,
    "fill_number": 1,
    "trade_number": 1,
    "late": False,
    "reason": "entry",
    "notes": "Small, to begin with",
    "win_rate_percentage": 100.0,
    "profit_factor": None,
    "expectancy": 68.076284,
    "average_win": 68.076284,
    "average_loss": None,
    "return_percentage": 0.680763,
    "max_drawdown_percentage": 0.0,
    "volatility": None,
    "sharpe": None,
    "sortino": None,
    "calmar": None,
    # plans
    "plan": "PREMIUM",
    "plan_version": 1,
    "max_trades_per_month": 500,
    "max_active_strategies": 5,
    "max_symbols": 10,
    "daily_api_requests": 20000,
    "max_backtests_per_day": 50,
    "max_running_sessions": 50,
    "max_stored_strategies": 100,
    # users and clients
    "email": "ada@example.org",
    "username": "ada",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "ip_address": "203.0.113.7",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "trial_ends_at": "2026-02-14T09:02:11.480Z",
    "is_active": True,
    "advanced_ai": False,
    "api_access": False,
    "backtesting": True,
    "telegram_alerts": True,
    "priority_support": False,
}


def example_id(name: str) -> str:
    """Return the same UUIDv7 for the same name, so that examples refer to each other."""
    known = UUID("0190a6f2-7b5e-7c1f-8a52-3d0f9c7e4b21")
    return f"{str(known).rpartition('-')[0]}-{uuid5(known, name.removesuffix('s')).hex[-12:]}"


def example(**values: JsonValue) -> ConfigDict:
    """Return the `model_config` of a model with examples for some fields; a name may end in `_`."""

    def add_examples(schema: JsonDict) -> None:
        properties = schema["properties"]
        assert isinstance(properties, dict)
        for name, value in values.items():
            field = properties[name.rstrip("_")]
            assert isinstance(field, dict)
            field["examples"] = [value]

    return ConfigDict(json_schema_extra=add_examples)
