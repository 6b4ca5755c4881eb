"""The problems of the trading service, in addition to those of every service.

ProblemError
├── LiveTradingOff      403  no real orders on this platform
├── RiskNoticeNotAccepted 403  before real orders
├── SessionEnded        409  a stopped session cannot change
├── SessionNotComparable 409  with a backtest: its bars are gone, or too many
├── SymbolInUse         409  one live session per exchange account and symbol
├── ForeignPosition     409  what is on the exchange already is not the session's
├── KillSwitchOn        409  no session starts under it
├── StrategyInactive    409  it is deactivated
├── StrategyInUse       409  a running session uses it
├── StrategiesFull      409  including deleted ones
├── VersionsFull        409  of one strategy
├── ConfigurationsFull  409  delete one first
├── PublishedFull       409  unpublish one first
├── BacktestEnded       409
├── ExchangeAccountKnown 409  you or another user connected it already
├── ExchangeAccountInUse 409  a session trades on it
├── ExchangeAccountNotUsable 409  the last check refused it
├── ExchangeAccountsFull 409  delete one first
├── SecretUnreadable    409  the stored key cannot be decrypted; replace it
├── KeyUnavailable      503  the operator's key ring; as Unavailable
├── ExchangeAccountRefused 422  names each field and what to do
└── TooManyBacktests    429
"""

from typing import ClassVar

from shared.chassis.errors import Conflict, Forbidden, ProblemError, Unavailable


class LiveTradingOff(Forbidden):
    """A session in mode LIVE, or an exchange account of environment LIVE, on a platform whose operator has not
    turned that on (`TRADEFLEET_LIVE`). Use PAPER, or an account of another environment."""

    type = "live-trading-off"
    title = "Trading with real orders is not available on this platform"


class SessionEnded(Conflict):
    """A stopped session cannot be restarted: start another one. `from_status` and `to_status` name the change."""

    type = "session-ended"
    title = "The session is stopped"


class SessionNotComparable(Conflict):
    """The session cannot be compared with a backtest: the candles that it has seen are no longer stored, or there
    are more than this request allows. `detail` says which."""

    type = "session-not-comparable"
    title = "The session cannot be compared with a backtest"


class SymbolInUse(Conflict):
    """Another live session trades this symbol on the same exchange account: they would share one position. Stop it
    first, or use a sub-account."""

    type = "symbol-in-use"
    title = "Another live session trades this symbol on this exchange account"


class ForeignPosition(Conflict):
    """The exchange account has a position or open orders of this symbol. `found` lists them: close them first."""

    type = "foreign-position"
    title = "The exchange account already has a position or orders of this symbol"


class KillSwitchOn(Conflict):
    """A kill switch is on: no session starts until it is lifted. `scope` is `tenant`, `symbol` or `platform`."""

    type = "kill-switch-on"
    title = "The kill switch is on"


class StrategyInactive(Conflict):
    """A deactivated strategy cannot start sessions or be published: reactivate it first."""

    type = "strategy-inactive"
    title = "The strategy is deactivated"


class StrategyInUse(Conflict):
    """Stop the sessions that run the strategy before you delete it."""

    type = "strategy-in-use"
    title = "A running session uses this strategy"


class StrategiesFull(Conflict):
    """`limit` is the most strategies you can ever create, including deleted ones. Change an existing one."""

    type = "strategies-full"
    title = "You have created the maximum number of strategies"


class VersionsFull(Conflict):
    """`limit` is the most versions a strategy can have. Continue with a new strategy that has another name."""

    type = "versions-full"
    title = "The strategy has the maximum number of versions"


class ConfigurationsFull(Conflict):
    """`limit` is the most configurations you can have. Delete one first."""

    type = "configurations-full"
    title = "You have the maximum number of configurations"


class PublishedFull(Conflict):
    """`limit` is the most strategies you can have published at once. Unpublish one first."""

    type = "published-full"
    title = "You have published the maximum number of strategies"


class BacktestEnded(Conflict):
    """The backtest is DONE or FAILED: there is nothing left to cancel."""

    type = "backtest-ended"
    title = "The backtest has ended"


class RiskNoticeNotAccepted(Forbidden):
    """Accept the current risk notice first: `POST /v1/exchange-accounts/risk-notice` with its `version`."""

    type = "risk-notice-not-accepted"
    title = "The risk notice has not been accepted"


class ExchangeAccountKnown(Conflict):
    """The account at the exchange, or its key, is connected already. `exchange_account_id` is yours; it is absent
    if another user connected it. Two keys of one account are one account: replace the key, or use a sub-account."""

    type = "exchange-account-known"
    title = "The exchange account is connected already"


class ExchangeAccountInUse(Conflict):
    """Stop the sessions that trade on the account before you delete it."""

    type = "exchange-account-in-use"
    title = "A running session trades on this account"


class ExchangeAccountNotUsable(Conflict):
    """The last check of the account refused it. `refusals` lists the reasons; correct them, then check it again."""

    type = "exchange-account-not-usable"
    title = "The exchange account cannot trade as it is"


class ExchangeAccountsFull(Conflict):
    """`limit` is the most exchange accounts you can have. Delete one first."""

    type = "exchange-accounts-full"
    title = "You have the maximum number of exchange accounts"


class SecretUnreadable(Conflict):
    """The stored key is not the one that was encrypted for this account; it was damaged or exchanged. Replace
    it."""

    type = "exchange-key-unreadable"
    title = "The stored key cannot be decrypted"


class KeyUnavailable(Unavailable):
    """The key ring of the platform, or the key in it that encrypts this row, cannot be read at the moment."""


class ExchangeAccountRefused(ProblemError):
    """The account or its key is not one that a bot may trade with. `refusals` is a list of {field, reason}; a
    reason says what to do. Nothing was stored."""

    status: ClassVar[int] = 422
    type: ClassVar[str] = "exchange-account-refused"
    title: ClassVar[str] = "The exchange account cannot be used"


class TooManyBacktests(ProblemError):
    """You have the maximum number of backtests queued or running: wait until some end, or cancel some."""

    status: ClassVar[int] = 429
    type: ClassVar[str] = "too-many-backtests"
    title: ClassVar[str] = "Too many backtests are queued"
    retry_after_s: ClassVar[int | None] = 30
