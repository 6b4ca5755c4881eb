"""One event of each kind, with every field set by hand: the content of the golden files."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from shared.contracts.activity import ActivityRecorded
from shared.contracts.auth import LoginEnded, UserRegistered, UserUpdated
from shared.contracts.billing import (
    Features,
    Limits,
    QuotaChanged,
    SubscriptionChanged,
    UsageRecorded,
    UsageThreshold,
)
from shared.contracts.envelope import MarketEvent, Message
from shared.contracts.market import CandleClosed, CandleOpened, MarketInterest
from shared.contracts.notifications import AlertTriggered
from shared.contracts.trading import (
    ExchangeAccountAlarmed,
    SessionAlarmed,
    SessionStarted,
    SessionStopped,
    TradeClosed,
    TradeOpened,
)

PUBLISHED_AT = datetime(2026, 1, 31, 9, 30, 0, 123_000, tzinfo=UTC)
EVENT_ID = "019c1349-ff5b-7c1f-8a52-3d0f9c7e4b21"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

_USER = UUID("0190a6f2-7b5e-7c1f-8a52-3d0f9c7e4b21")
_SESSION = UUID("0190a6f2-7b5e-7c1f-8a52-000000000001")
_TRADE = UUID("0190a6f2-7b5e-7c1f-8a52-000000000002")
_STRATEGY = UUID("0190a6f2-7b5e-7c1f-8a52-000000000003")
_ALERT = UUID("0190a6f2-7b5e-7c1f-8a52-000000000004")
_LEASE = UUID("0190a6f2-7b5e-7c1f-8a52-000000000005")
_EXCHANGE_ACCOUNT = UUID("0190a6f2-7b5e-7c1f-8a52-000000000006")
_BEGIN = datetime(2026, 1, 31, 9, 15, tzinfo=UTC)
_END = datetime(2026, 1, 31, 9, 29, 59, 999_999, tzinfo=UTC)

_registered = UserRegistered(
    user_id=42,
    public_id=_USER,
    aggregate="user:42",
    aggregate_seq=1,
    email="söme.body+bots@example.org",
    timezone="America/New_York",
    language="en",
    is_active=True,
)
_updated = UserUpdated(
    user_id=42,
    public_id=_USER,
    aggregate="user:42",
    aggregate_seq=2,
    email="söme.body+bots@example.org",
    timezone="Europe/Rome",
    language="it",
    is_active=True,
)
_ended = LoginEnded(
    user_id=42,
    public_id=_USER,
    aggregate=f"login:{_SESSION}",
    aggregate_seq=1,
    login_id=_SESSION,
    reason="LOGGED_OUT",
    at=PUBLISHED_AT,
)
_recorded = ActivityRecorded(
    user_id=42,
    public_id=_USER,
    aggregate="activity:trading:42",
    aggregate_seq=7,
    activity_id=UUID("0190a6f2-7b5e-7c1f-8a52-000000000005"),
    service="trading",
    actor="USER",
    activity_type="CREATE_STRATEGY",
    object="/v1/strategies/0190a6f2-7b5e-7c1f-8a52-000000000003",
    address="2001:db8::1",
    user_agent="cürl/8.5",
    endpoint="POST /v1/strategies",
    at=PUBLISHED_AT,
)
_changed = SubscriptionChanged(
    user_id=42,
    public_id=_USER,
    aggregate="subscription:42",
    aggregate_seq=2,
    subscription_version=2,
    plan="PREMIUM",
    status="TRIAL",
    limits=Limits(
        max_trades_per_month=500,
        max_active_strategies=10,
        max_symbols=None,
        daily_api_requests=10_000,
        max_backtests_per_day=0,
    ),
    features=Features(
        advanced_ai=False, api_access=True, backtesting=True, telegram_alerts=True, priority_support=False
    ),
    period_start=_BEGIN,
    period_end=None,
    previous_plan="FREE",
    reason="trial",
)
_threshold = UsageThreshold(
    user_id=42,
    public_id=_USER,
    aggregate=f"usage:api_requests:{_USER}:2026-01-31T00:00:00.000Z",
    aggregate_seq=1,
    meter="api_requests",
    used=801,
    limit=1_000,
    percent=80,
    period_start=datetime(2026, 1, 31, tzinfo=UTC),
    period_end=datetime(2026, 2, 1, tzinfo=UTC),
)
_exhausted = QuotaChanged(
    user_id=42,
    public_id=_USER,
    aggregate=f"quota:{_USER}",
    aggregate_seq=3,
    quota_version=3,
    meter="api_requests",
    state="EXHAUSTED",
    until=datetime(2026, 2, 1, tzinfo=UTC),
    limit=1_000,
    used=1_004,
)
_used = UsageRecorded(
    user_id=42,
    public_id=_USER,
    aggregate=f"lease:{_LEASE}",
    aggregate_seq=3,
    recorded_by="trading",
    lease_id=_LEASE,
    kind="trading",
    count=17,
    window=2,
    window_start=_BEGIN,
    window_end=_END,
)
_started = SessionStarted(
    user_id=42,
    public_id=_USER,
    aggregate=f"session:{_SESSION}",
    aggregate_seq=1,
    session_id=_SESSION,
    symbol="BTCUSDT",
    interval="15",
    mode="PAPER",
    initial_balance=Decimal("10000.00"),
    strategy_id=_STRATEGY,
    strategy_name="EMA cross",
    strategy_hash="9f86d081884c7d65",
    started_at=_BEGIN,
)
_stopped = SessionStopped(
    user_id=42,
    public_id=_USER,
    aggregate=f"session:{_SESSION}",
    aggregate_seq=4,
    session_id=_SESSION,
    symbol="BTCUSDT",
    mode="PAPER",
    initial_balance=Decimal(10_000),
    final_balance=Decimal("10042.123456789012345678"),
    total_pnl=Decimal("42.123456789012345678"),
    total_trades=1,
    reason="USER",
    stopped_at=_END,
)
_alarmed = SessionAlarmed(
    user_id=42,
    public_id=_USER,
    aggregate=f"session:{_SESSION}",
    aggregate_seq=3,
    session_id=_SESSION,
    symbol="BTCUSDT",
    reason="feed_silent",
    since=_BEGIN,
)
_account_alarmed = ExchangeAccountAlarmed(
    user_id=42,
    public_id=_USER,
    aggregate=f"exchange_account:{_EXCHANGE_ACCOUNT}",
    aggregate_seq=1,
    exchange_account_id=_EXCHANGE_ACCOUNT,
    account_name="Sub-account for bots",
    environment="DEMO",
    reason="permissions_grew",
    details=("Wallet.AccountTransfer", "Wallet.Withdraw"),
    expires_at=_END,
    since=_BEGIN,
)
_opened = TradeOpened(
    user_id=42,
    public_id=_USER,
    aggregate=f"session:{_SESSION}",
    aggregate_seq=2,
    trade_id=_TRADE,
    session_id=_SESSION,
    symbol="BTCUSDT",
    side="SHORT",
    entry_time=_BEGIN,
    entry_price=Decimal("97123.50"),
    quantity=Decimal("0.001"),
    strategy_id=_STRATEGY,
    strategy_hash="9f86d081884c7d65",
    is_paper_trade=True,
    late=False,
)
_closed = TradeClosed(
    user_id=2**63 - 1,
    public_id=_USER,
    aggregate=f"session:{_SESSION}",
    aggregate_seq=3,
    trade_id=_TRADE,
    session_id=_SESSION,
    symbol="BTCUSDT",
    side="LONG",
    entry_time=_BEGIN,
    exit_time=_END,
    entry_price=Decimal("97123.5"),
    exit_price=Decimal("9.7E+4"),
    quantity=Decimal("0.000000000000000001"),
    pnl=Decimal("-0.10"),
    pnl_percentage=Decimal("-0"),
    fee=Decimal("99999999999999999999.999999999999999999"),
    reason="STOP_LOSS",
    strategy_id=_STRATEGY,
    strategy_name='Ümlaut "quoted"\nand a line',
    strategy_hash="9f86d081884c7d65",
    is_paper_trade=False,
    late=True,
)
_triggered = AlertTriggered(
    user_id=42,
    public_id=_USER,
    aggregate=f"alert:{_ALERT}",
    aggregate_seq=1,
    alert_id=_ALERT,
    alert_name="Bitcoin above 100 k",
    alert_type="PRICE",
    symbol="BTCUSDT",
    interval="1",
    open_time=_BEGIN,
    price=Decimal("100000.1"),
    value_seen="100000.1",
    condition={"left": {"price": "close"}, "operator": ">", "right": {"value": "100000"}},
    channels=("dashboard", "telegram"),
)
_interest = MarketInterest(
    user_id=0,
    public_id=UUID(int=0),
    aggregate="market_interest",
    aggregate_seq=3,
    wished_by="analytics",
    symbol="BTCUSDT",
    interval="15",
    wanted=True,
    interest_version=3,
)
_bar_opened = CandleOpened(
    venue="bybit",
    symbol="BTCUSDT",
    interval="15",
    generation=1,
    open_time=_BEGIN,
    previous_open_time=None,
    open=Decimal("97123.5"),
    venue_time=_END,
)
_bar_closed = CandleClosed(
    venue="bybit",
    symbol="BTCUSDT",
    interval="15",
    generation=1,
    open_time=_BEGIN,
    previous_open_time=datetime(2026, 1, 31, 9, 0, tzinfo=UTC),
    open=Decimal("97123.5"),
    venue_time=PUBLISHED_AT,
    high=Decimal("97200"),
    low=Decimal("97000.1"),
    close=Decimal("97150.00"),
    volume=Decimal("12.345"),
)

SAMPLES: Mapping[str, Message] = {
    sample.topic: sample
    for sample in (
        _registered,
        _updated,
        _ended,
        _recorded,
        _changed,
        _threshold,
        _exhausted,
        _used,
        _started,
        _stopped,
        _alarmed,
        _account_alarmed,
        _opened,
        _closed,
        _triggered,
        _interest,
        _bar_opened,
        _bar_closed,
    )
}


def id_of(sample: Message) -> str:
    return str(sample.event_id()) if isinstance(sample, MarketEvent) else EVENT_ID


def source_of(sample: Message) -> str:
    if isinstance(sample, UsageRecorded):
        return sample.recorded_by
    if isinstance(sample, ActivityRecorded):
        return sample.service
    return sample.wished_by if isinstance(sample, MarketInterest) else sample.source
