"""Candles from before: what analytics and notifications ask of trading, once per series and after a gap."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import aiohttp
from pydantic import BaseModel, ValidationError

from shared.chassis.errors import Unavailable
from shared.chassis.settings import ServiceSettings
from shared.contracts.types import Amount

TIMEOUT_S = 20
PAGE = 5_000


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
    """Trading's internal listener, asked with the service token."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._url = settings.trading_internal_url.rstrip("/") + "/internal/v1/candles"
        self._token = settings.service_token.get_secret_value()

    async def fetch(self, symbol: str, interval: str, to_ms: int, generation: int | None = None) -> list[Candle]:
        """All confirmed candles of the series from its anchor up to and with `to_ms`, ascending; of the newest
        generation where none is named.

        Raises Unavailable when trading does not answer; the caller tries again later.
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
        headers = {"Authorization": f"Bearer {self._token}"}
        try:
            async with session.get(self._url, params=query, headers=headers) as answer:
                answer.raise_for_status()
                return _HistoryPage.model_validate_json(await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValidationError) as error:
            raise Unavailable("candle history cannot be had at the moment") from error
