"""Candle events from the feed, and the demand for series that the services publish."""

from datetime import timedelta
from typing import ClassVar, Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.envelope import Event, MarketEvent, market_id
from shared.contracts.types import Amount, Instant, to_ms


class _Candle(MarketEvent):
    source: ClassVar[str] = "trading"
    kind: ClassVar[str]

    venue: str
    symbol: str
    interval: str
    generation: int = Field(ge=1)
    open_time: Instant
    previous_open_time: Instant | None  # None for the first bar of the series
    open: Amount
    venue_time: Instant  # the exchange's clock when the feed saw it

    @property
    def series(self) -> str:
        return f"{self.venue}:{self.symbol}:{self.interval}:{self.generation}"

    def key(self) -> str:
        return f"{self.venue}:{self.symbol}"

    def order_key(self) -> str:
        return self.series

    def event_id(self) -> UUID:
        return market_id(self.venue, self.symbol, self.interval, self.generation, to_ms(self.open_time), self.kind)


class CandleOpened(_Candle):
    """The first trade of the bar was seen."""

    topic: ClassVar[str] = "candle.opened"
    kind: ClassVar[str] = "opened"


class CandleClosed(_Candle):
    """The exchange has confirmed the bar; it never changes again."""

    topic: ClassVar[str] = "candle.closed"
    kind: ClassVar[str] = "closed"

    high: Amount
    low: Amount
    close: Amount
    volume: Amount


class MarketInterest(Event):
    """The demand of the service `wished_by` for this series; `wanted` is false when it ends. The highest
    `interest_version` counts. `user_id` is 0, as the event is not about a user.

    `history_bars` is the number of bars that the indicators need, if the exchange has them; a series that holds
    fewer gets a new generation. `generations` are those that sessions use; a consumer that uses none takes the
    newest.
    """

    topic: ClassVar[str] = "market.interest"
    source: ClassVar[str] = "trading"
    source_field: ClassVar[str | None] = "wished_by"
    compacted: ClassVar[bool] = True
    partitions: ClassVar[int] = 1
    retention: ClassVar[timedelta] = timedelta(days=7)

    wished_by: Literal["trading", "analytics", "notifications"]
    symbol: str
    interval: str
    wanted: bool
    interest_version: int = Field(ge=1)
    history_bars: int = Field(default=0, ge=0)
    generations: tuple[int, ...] = ()

    def key(self) -> str:
        return f"{self.wished_by}:{self.symbol}:{self.interval}"
