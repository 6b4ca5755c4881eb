"""Candles from before: what analytics and notifications ask of trading, once per series and after a gap."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import aiohttp
from pydantic import BaseModel

from shared.chassis.errors import PoisonError, Unavailable
from shared.chassis.service_tokens import ServiceTokens
from shared.chassis.settings import ServiceSettings
from shared.contracts.types import Amount

TIMEOUT_S = 20
PAGE = 5_000
NOT_FOR_WHAT_WAS_ASKED = (401, 403, 407, 408, 425, 429)  # but for who asks, or when


class HistoryTooShort(Unavailable):
    """The history does not hold a candle that was published: so it is with one that is no fact."""


@dataclass(frozen=True)
class Candle:
    open_time_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


class _HistoryPage(BaseModel):
    items: list[tuple[int, Amount, Amount, Amount, Amount, Amount]]
    anchor_ms: int | None


class CandleHistory:
    """Trading's internal listener, called with a token of this service."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._url = settings.trading_internal_url.rstrip("/") + "/internal/v1/candles"
        self._tokens = ServiceTokens(settings.service, settings.service_key_file)

    async def fetch(self, symbol: str, interval: str, to_ms: int, generation: int | None = None) -> list[Candle]:
        """All confirmed candles of the series from its anchor up to and with `to_ms`, ascending; of the newest
        generation where none is named.

        Raises Unavailable when trading does not answer, PoisonError where it refuses the series that is asked for.
        """
        candles: list[Candle] = []
        end = to_ms
        series = {"symbol": symbol, "interval": interval, "limit": str(PAGE)}
        if generation is not None:
            series["generation"] = str(generation)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
            while True:
                page = await self._page(session, {**series, "to_ms": str(end)})
                candles[:0] = [Candle(*item) for item in page.items]
                if len(page.items) < PAGE or page.anchor_ms is None or page.items[0][0] <= page.anchor_ms:
                    return candles
                end = page.items[0][0] - 1

    async def _page(self, session: aiohttp.ClientSession, query: Mapping[str, str]) -> _HistoryPage:
        headers = self._tokens.authorization("trading")
        try:
            async with session.get(self._url, params=query, headers=headers) as answer:
                if 400 <= answer.status < 500 and answer.status not in NOT_FOR_WHAT_WAS_ASKED:
                    raise PoisonError(f"trading's history refuses the series: {answer.status}")
                answer.raise_for_status()
                body = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable("candle history cannot be had at the moment") from error
        return _HistoryPage.model_validate_json(body)
